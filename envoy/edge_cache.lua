-- The edge cache: keeps the classifier's answers in each Envoy worker, and asks for those it lacks.
--
-- The problem: only the topology knows which cell owns the name in a path, and asking the classifier
-- for every request costs an Envoy more than half of its throughput. A cached answer is fast, but wrong
-- once the name has moved to another cell, and an answer may be on its way while the name moves.
--
-- The idea: an answer says at which revision it was computed, and into which shards of the keyspace
-- it looked. xDS brings the epoch of each shard, which is the revision at which a claim in it last
-- changed its owner. An answer older than an epoch of its shards is never used, however late it
-- arrives. For example, with
--
--   epochs   "120;17:135"                floor 120, and shard 17 last changed at revision 135
--   answer   "cell-2 org 131 60000 17"   cell, rule, revision, time to live in ms, shards
--
-- the answer is void, because 131 < 135; with revision 140 it would be used for a minute.
--
-- What a route asks about stands in the route's name, for example
--
--   ask:org ruleset=5d0a0e1c7e3f4b21 next=0 path=3 own= rest=x-token rules=org ask=cookie,x-token
--
-- A new route table reaches every request, while a new script reaches only new connections. So the
-- script must not depend on a ruleset. The compiler writes only these constants in front of it:
--
--   UNDONE       headers to remove from a request that a cell has answered with 421
--   UNSENT       headers that are never sent to the classifier
--   KEEPS        whether answers are cached; if not, there are no epochs, and no 421 comes back here
--   CLUSTER, TIMEOUT_MS         the classifier's cluster, and how long to wait for it
--   SHOW_TIER                   whether to add x-cellway-tier
--   MAX_POSITIVE, MAX_NEGATIVE  entries of the caches of owned and of unknown names
--   STALE_MS                    how long an expired answer may be used while the classifier is dead

local find, sub, match, gmatch = string.find, string.sub, string.match, string.gmatch
local concat, tonumber, random, max = table.concat, tonumber, math.random, math.max

local MAX_SPECS = 4096 -- route names; one ruleset has at most a quarter as many
local MAX_KEY = 1024 -- bytes; answers under a longer key are not cached
local NEGATIVE_MS = 2000 -- an answer with at most this time to live is cached as an unknown name's
local REPORT_MS = 1000 -- counts travel to the classifier with a question, at most this often
local REPORT_HITS_MS = 10000 -- if nothing is asked for this long, they are sent by themselves
local OPTIONS = { timeout_ms = TIMEOUT_MS, send_xff = false }

-- A bounded cache of two generations. An entry that is used moves to the young generation. When that
-- is full, the old generation is dropped as a whole and the young one takes its place.
local function new_cache(max_entries)
  return { young = {}, old = {}, size = 0, half = max_entries / 2 }
end

local positive = new_cache(MAX_POSITIVE)
local negative = new_cache(MAX_NEGATIVE) -- separate, so that random names can't push out owned ones
local counts = { hits = 0, misses = 0, stale = 0, evictions = 0, misdirected = 0 }
local reported_at = 0
local usual_host = nil -- the host of this worker's first request

local function put(cache, key, entry)
  if cache.young[key] == nil then
    if cache.size >= cache.half then
      for _ in pairs(cache.old) do
        counts.evictions = counts.evictions + 1
      end
      cache.old, cache.young, cache.size = cache.young, {}, 0
    end
    cache.size = cache.size + 1
  end
  cache.young[key] = entry
  cache.old[key] = nil
end

local function get(cache, key)
  local entry = cache.young[key]
  if entry == nil then
    entry = cache.old[key]
    if entry ~= nil then
      put(cache, key, entry)
    end
  end
  return entry
end

local function forget(cache, key)
  if cache.young[key] ~= nil then
    cache.young[key], cache.size = nil, cache.size - 1
  end
  cache.old[key] = nil
end

local specs, specs_count = {}, 0
local last_id = 0

-- Return the headers that a field of a route's name lists, and whether the query is among them. The
-- headers are nil if the compiler could not list them.
local function read_list(text)
  if text == "/" then
    return nil, false
  end
  local names, query = {}, false
  for name in gmatch(text, "[^,]+") do
    if name == "?" then
      query = true
    else
      names[#names + 1] = name
    end
  end
  return names, query
end

-- Return what a route's name says; nil if it has another layout.
local function read_spec(name)
  local spec = {}
  local ruleset, second_try, inputs, ask =
    match(name, "^%a+:?%S* ruleset=(%x*) next=([01]) ?(.*) ask=(%S*)$")
  if not ruleset then
    return nil
  end
  spec.ruleset, spec.second_try, spec.ask = ruleset, second_try == "1", read_list(ask)
  local path, own, rest, rules = match(inputs, "^path=(%S+) own=(%S*) rest=(%S*) rules=(%S*)$")
  if path then
    spec.slashes, spec.rules = tonumber(path), {}
    if KEEPS then
      spec.own, spec.own_query = read_list(own)
      spec.rest, spec.rest_query = read_list(rest)
    end
    for rule in gmatch(rules, "[^,]+") do
      spec.rules[rule] = true
    end
  end
  return spec
end

-- Read a route's name that is not in the table yet, and give it an id, which stands for the name in
-- cache keys. An id is never used again, so answers by different rulesets never share a key.
local function add_spec(name)
  local spec = read_spec(name)
  if spec then
    if specs_count >= MAX_SPECS then
      specs, specs_count = {}, 0
    end
    last_id = last_id + 1
    spec.id = string.format("%d", last_id)
    specs[name], specs_count = spec, specs_count + 1
  end
  return spec
end

local epochs_text, floor, epochs = nil, 0, {}
local newest_epoch = "-" -- the highest revision among floor and epochs; "-" if there are none

-- Read "<floor>;<shard>:<revision>,..." unless it is the text that was read last.
local function read_epochs(text)
  if text == epochs_text then
    return
  end
  epochs_text, epochs = text, {}
  floor = tonumber(match(text or "", "^(%d+);")) or math.huge
  local newest = floor
  for shard, revision in gmatch(text or "", "(%d+):(%d+)") do
    epochs[tonumber(shard)] = tonumber(revision)
    newest = max(newest, tonumber(revision))
  end
  newest_epoch = newest < math.huge and string.format("%d", newest) or "-"
end

-- Whether no owner in the entry's shards, and no cell or rule, has changed since it was computed.
local function is_current(entry)
  local revision = entry.revision
  if revision < floor then
    return false
  end
  local shards = entry.shards
  for index = 1, #shards do
    local epoch = epochs[shards[index]]
    if epoch and revision < epoch then
      return false
    end
  end
  return true
end

-- Return the path without its query, and only up to so many slashes.
local function path_start(path, slashes)
  local stop = find(path, "?", 1, true)
  if stop then
    path = sub(path, 1, stop - 1)
  end
  if not slashes then
    return path
  end
  local at = 0
  for _ = 1, slashes do
    at = find(path, "/", at + 1, true)
    if not at then
      return path
    end
  end
  return sub(path, 1, at)
end

-- Return a cache key: the start, the named headers, and if wanted the query. Each value has its length
-- in front, so that two different lists of values never give the same key.
local function key_of(start, headers, names, path, query)
  if #names == 0 and not query then
    return start
  end
  local parts, at = { start }, 1
  for index = 1, #names do
    local value = headers:get(names[index])
    parts[at + 1] = value and #value or "-"
    parts[at + 2] = value or ""
    at = at + 2
  end
  if query then
    local mark = find(path, "?", 1, true)
    parts[at + 1] = mark and sub(path, mark) or ""
  end
  return concat(parts, "\n")
end

-- Send the request to the entry's cell.
local function route(handle, headers, entry, tier)
  headers:add("x-cellway-cell", entry.cell)
  headers:add("x-cellway-rule", entry.rule)
  if SHOW_TIER then
    headers:add("x-cellway-tier", tier)
  end
  if KEEPS then
    -- If the cell answers 421, Envoy replaces the host before the request comes here again. Noting
    -- every host, and not only unusual ones, would cost a hit 1 % more.
    local host = headers:get(":authority")
    usual_host = usual_host or host
    if host ~= usual_host then
      headers:add("x-cellway-host", host)
    end
  end
  handle:clearRouteCache()
end

-- Return the counts since the last report, and begin anew.
local function report(now)
  local text = concat({
    "hits=", counts.hits, " misses=", counts.misses, " stale=", counts.stale,
    " evictions=", counts.evictions, " entries=", positive.size + negative.size,
    " misdirected=", counts.misdirected,
  })
  for name in pairs(counts) do
    counts[name] = 0
  end
  reported_at = now
  return text
end

-- Return what an answer says: cell and rule, and if it may be cached, its revision, time to live in ms
-- and shards. Nil if it is malformed.
local function entry_of(answer, now)
  if not KEEPS then
    local cell, rule = match(answer, "^(%S+) (%S+)")
    return cell and { cell = cell, rule = rule }
  end
  local cell, rule, revision, ttl, list = match(answer, "^(%S+) (%S+) ?(%d*) ?(%d*) ?([-%d,]*)$")
  if not cell then
    return nil
  end
  local entry = { cell = cell, rule = rule }
  if list ~= "" then
    entry.revision, entry.ttl, entry.shards = tonumber(revision), tonumber(ttl), {}
    for shard in gmatch(list, "%d+") do
      entry.shards[#entry.shards + 1] = tonumber(shard)
    end
    -- Up to a tenth less, so that answers that came together don't expire together.
    entry.expires_at = now + entry.ttl * (0.9 + 0.1 * random())
  end
  return entry
end

-- Put every header that a rule may look at into the question, for rules whose headers can't be listed.
local function send_all(question, headers)
  for name, value in pairs(headers) do
    if not UNSENT[name] and sub(name, 1, 1) ~= ":" and sub(name, 1, 10) ~= "x-cellway-" then
      local before = question[name]
      if not before then
        question[name] = value
      elseif type(before) == "table" then
        before[#before + 1] = value
      else
        question[name] = { before, value }
      end
    end
  end
end

-- Ask the classifier, and return its answer as an entry; nil if it does not answer. It decides by the
-- ruleset of the route, whichever ruleset is active by then. Its answer is at least as new as revision;
-- with "-", it reads the owners from the database.
local function ask(handle, spec, headers, path, now, revision)
  local question = {
    [":method"] = "GET",
    [":path"] = path,
    [":authority"] = headers:get(":authority"),
    ["x-cellway-known"] = revision .. " " .. spec.ruleset,
  }
  local method = headers:get(":method")
  if method ~= "GET" then
    question["x-cellway-method"] = method
  end
  if now - reported_at >= REPORT_MS then
    question["x-cellway-edge-counts"] = report(now)
  end
  local names = spec.ask
  if names then
    for index = 1, #names do
      question[names[index]] = headers:get(names[index])
    end
  else
    send_all(question, headers)
  end
  local ok, answer = pcall(handle.httpCall, handle, CLUSTER, question, nil, OPTIONS)
  if ok and answer["x-cellway-answer"] then
    return entry_of(answer["x-cellway-answer"], now)
  end
  return nil
end

-- Cache an answer. It depends on fewer inputs if the route's own rule gave it.
local function store(entry, own_key, rest_key, spec)
  local key = spec.rules[entry.rule] and own_key or rest_key
  -- New epochs may have come while the classifier answered.
  if key and entry.revision and #key <= MAX_KEY and is_current(entry) then
    put(entry.ttl <= NEGATIVE_MS and negative or positive, key, entry)
  end
end

-- Return the cached answer, which may have expired; nil if there is none, or an epoch voids it.
local function cached(key)
  local entry = get(positive, key) or get(negative, key)
  if entry and is_current(entry) then
    return entry
  end
  return nil
end

-- Return the key of answers by the route's own rule: they depend on the inputs of that rule alone.
local function own_key_of(spec, headers, path)
  local start = spec.id .. "\n" .. path_start(path, spec.slashes)
  return key_of(start, headers, spec.own, path, spec.own_query)
end

-- Return the key of answers by later rules, which depend on more inputs; nil if they are not cached. The
-- "+" tells it apart from the own key, which may have the same inputs.
local function rest_key_of(own_key, spec, headers, path)
  return spec.rest and key_of(own_key .. "\n+", headers, spec.rest, path, spec.rest_query)
end

-- Forget every answer to this request that routes of this ruleset have cached.
local function forget_all(ruleset, headers, path)
  for _, spec in pairs(specs) do
    if spec.own and spec.ruleset == ruleset then
      local own_key = own_key_of(spec, headers, path)
      for _, key in pairs({ own_key, rest_key_of(own_key, spec, headers, path) }) do
        forget(positive, key)
        forget(negative, key)
      end
    end
  end
end

-- A cell has answered 421, and Envoy has started the request again: as a GET without a body, to a host
-- of Envoy's own. The header x-cellway-misdirected has the former method, how many bytes of the body had
-- come, and the cell, for example "PUT 0 cell-2". Restore the request, forget what is cached for it, and
-- ask once more, by the ruleset of the route that it has now. If a body had come, or the owner is still
-- that cell, leave it to this route, which answers 503.
local function ask_again(handle, spec, headers)
  local noted = headers:get("x-cellway-misdirected") or ""
  local method, received, cell = match(noted, "^(%S+) (%d+) (%S+)$")
  local host = headers:get("x-cellway-host") or usual_host
  if not method or not host then
    return
  end
  headers:replace(":method", method)
  headers:replace(":authority", host)
  for index = 1, #UNDONE do
    headers:remove(UNDONE[index])
  end
  counts.misdirected = counts.misdirected + 1
  local path = headers:get(":path")
  forget_all(spec.ruleset, headers, path)
  if received ~= "0" then
    return -- the body went to the first cell
  end
  local entry = ask(handle, spec, headers, path, handle:timestamp(), "-")
  if entry and entry.cell ~= cell then
    route(handle, handle:headers(), entry, "classifier")
  end
end

-- The classifier does not answer. Use an expired answer for a while, unless an epoch voids it. Otherwise
-- leave the request to its route, which does what the rule's on_classifier_down says; where that is
-- "next", the route is looked up again.
local function route_without_classifier(handle, spec, entry, now)
  local headers = handle:headers()
  if entry then
    read_epochs(handle:streamInfo():filterState():get("cellway.epochs"))
    if is_current(entry) and now < entry.expires_at + STALE_MS then
      counts.stale = counts.stale + 1
      headers:add("x-cellway-stale", "1")
      return route(handle, headers, entry, "edge-cache")
    end
  end
  if spec.second_try then
    headers:add("x-envoy-auth-failure-mode-allowed", "true")
    handle:clearRouteCache()
  end
end

-- Report the counts if nothing has been asked, and so nothing reported, for a while.
local function report_hits(handle, now)
  if now - reported_at >= REPORT_HITS_MS then
    handle:httpCall(CLUSTER, {
      [":method"] = "POST", [":path"] = "/", [":authority"] = "edge",
      ["x-cellway-edge-counts"] = report(now),
    }, nil, { asynchronous = true, timeout_ms = TIMEOUT_MS })
  end
end

function envoy_on_request(handle)
  local info, headers = handle:streamInfo(), handle:headers()
  local name = info:routeName()
  local spec = specs[name] or add_spec(name)
  if not spec then
    return -- another version of cellway named the route: it does what on_classifier_down says
  end
  if not spec.rules then
    return ask_again(handle, spec, headers)
  end
  if KEEPS then
    read_epochs(info:filterState():get("cellway.epochs"))
  end
  local path = headers:get(":path")
  local now = KEEPS and handle:timestamp() or 0
  local own_key, rest_key, entry
  if spec.own then
    own_key = own_key_of(spec, headers, path)
    entry = cached(own_key)
    if entry and now < entry.expires_at then
      counts.hits = counts.hits + 1
      route(handle, headers, entry, "edge-cache")
      return report_hits(handle, now)
    end
    rest_key = rest_key_of(own_key, spec, headers, path)
    local other = rest_key and cached(rest_key)
    if other and now < other.expires_at then
      counts.hits = counts.hits + 1
      return route(handle, headers, other, "edge-cache")
    end
    entry = entry or other
    counts.misses = counts.misses + 1
  end
  local fresh = ask(handle, spec, headers, path, now, newest_epoch)
  if fresh then
    store(fresh, own_key, rest_key, spec)
    -- Objects of Envoy that were fetched before a call may not be used after it.
    return route(handle, handle:headers(), fresh, "classifier")
  end
  route_without_classifier(handle, spec, entry, now)
end
