-- The edge cache: answers of the classifier, kept in each Envoy worker.
--
-- Runs on routes that ask the classifier. A hit routes the request without asking; a miss asks, and
-- keeps the answer. An answer carries the revision that it was computed at and the shards of the
-- keyspace that it looked into. xDS brings the epoch of each shard (the revision at which a claim
-- in it last changed its owner) in a filter state string; an answer older than an epoch of its
-- shards is never used. Entries also end by time, and by the cache's bounds.
--
-- What there is to ask stands in the name of the route (see compiler/asking_names.py): a route table
-- reaches every request, and this script only new connections. So the compiler puts nothing of any
-- ruleset in front of this, but:
--   UNDONE       headers to take off a request that a cell has answered with 421
--   UNSENT       headers that are never sent to the classifier
--   KEEPS        whether answers are kept here; else there are no epochs, and no 421 comes back here
--   CLUSTER, TIMEOUT_MS, SHOW_TIER, MAX_POSITIVE, MAX_NEGATIVE, STALE_MS

local find, sub, match, gmatch = string.find, string.sub, string.match, string.gmatch
local concat, tonumber, random, max = table.concat, tonumber, math.random, math.max

local MAX_SPECS = 4096 -- route names; four times as many as one ruleset can have
local MAX_KEY = 1024 -- bytes; a longer key is asked for each time
local NEGATIVE_MS = 2000 -- an answer that lives no longer goes to the cache of unknown keys
local REPORT_MS = 1000 -- counts go to the classifier with a question, and no more often than that
local REPORT_HITS_MS = 10000 -- so long after the last report they are sent even if nothing is asked
local OPTIONS = { timeout_ms = TIMEOUT_MS, send_xff = false }

-- A bounded cache in two generations: what is used moves to the young one, and when that is full
-- the old one is dropped as a whole.
local function new_cache(most)
  return { young = {}, old = {}, size = 0, half = most / 2 }
end

local positive = new_cache(MAX_POSITIVE)
local negative = new_cache(MAX_NEGATIVE) -- of its own, so that random keys can't push out good ones
local counts = { hits = 0, misses = 0, stale = 0, evictions = 0, misdirected = 0 }
local reported_at = 0
local usual_host = nil -- the first that was seen

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

local specs, specs_known = {}, 0
local last_id = 0

-- A list of headers in a route's name; nil: they can't be named. And whether the query is among them.
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

-- What a route's name says, for the first time. The id stands for the name in keys; no two names ever
-- have the same, so an answer to a question of a ruleset that is gone meets no other's.
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

local function learn(name)
  local spec = read_spec(name)
  if spec then
    if specs_known >= MAX_SPECS then
      specs, specs_known = {}, 0
    end
    last_id = last_id + 1
    spec.id = string.format("%d", last_id)
    specs[name], specs_known = spec, specs_known + 1
  end
  return spec
end

local epochs_text, floor, epochs = nil, 0, {}
local newest = "-" -- the newest revision that the epochs tell of

local function read_epochs(text)
  if text == epochs_text then
    return
  end
  epochs_text, epochs = text, {}
  floor = tonumber(match(text or "", "^(%d+);")) or math.huge
  local known = floor
  for shard, revision in gmatch(text or "", "(%d+):(%d+)") do
    epochs[tonumber(shard)] = tonumber(revision)
    known = max(known, tonumber(revision))
  end
  newest = known < math.huge and string.format("%d", known) or "-"
end

-- Whether no owner in the entry's shards, and no cell or rule, has changed since it was computed.
local function holds(entry)
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

-- Each value with its length in front, so that no two lists of values make one key.
local function inputs(start, headers, names, path, query)
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

local function route(handle, headers, entry, tier)
  headers:add("x-cellway-cell", entry.cell)
  headers:add("x-cellway-rule", entry.rule)
  if SHOW_TIER then
    headers:add("x-cellway-tier", tier)
  end
  if KEEPS then
    -- Where the cell answers 421, Envoy puts another host in its place before it comes here again. To
    -- note each would cost a hit 1 % more.
    local host = headers:get(":authority")
    usual_host = usual_host or host
    if host ~= usual_host then
      headers:add("x-cellway-host", host)
    end
  end
  handle:clearRouteCache()
end

local function report(now)
  local text = concat({
    "hits=", counts.hits, " misses=", counts.misses, " stale=", counts.stale,
    " evictions=", counts.evictions, " entries=", positive.size + negative.size,
    " misdirected=", counts.misdirected,
  })
  for what in pairs(counts) do
    counts[what] = 0
  end
  reported_at = now
  return text
end

-- What an answer says: cell and rule, and if it may be kept, revision, time to live in ms and shards.
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
    -- A tenth of jitter, so that what came together does not go together.
    entry.ends = now + entry.ttl * (0.9 + 0.1 * random())
  end
  return entry
end

-- All that a rule may look at, where the rules' headers can't be named.
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

-- By the ruleset of the route, whichever the classifier runs by then. With known, the revision that the
-- answer may be as old as; with "-", it is read anew.
local function ask(handle, spec, headers, path, now, known)
  local question = {
    [":method"] = "GET",
    [":path"] = path,
    [":authority"] = headers:get(":authority"),
    ["x-cellway-known"] = known .. " " .. spec.ruleset,
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

local function keep(entry, own_key, rest_key, spec)
  local key = spec.rules[entry.rule] and own_key or rest_key
  -- The epochs may have come while the question was under way.
  if key and entry.revision and #key <= MAX_KEY and holds(entry) then
    put(entry.ttl <= NEGATIVE_MS and negative or positive, key, entry)
  end
end

local function kept(key)
  local entry = get(positive, key) or get(negative, key)
  if entry and holds(entry) then
    return entry
  end
  return nil
end

local function own_key_of(spec, headers, path)
  local start = spec.id .. "\n" .. path_start(path, spec.slashes)
  return inputs(start, headers, spec.own, path, spec.own_query)
end

-- The mark keeps it apart from the own key, which may have no more in it. Nil: nothing is kept of what
-- later rules say.
local function rest_key_of(own_key, spec, headers, path)
  return spec.rest and inputs(own_key .. "\n+", headers, spec.rest, path, spec.rest_query)
end

-- Forget all that this ruleset's routes would answer.
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

-- A cell has answered 421, and Envoy has begun the request again: as a GET without its body, to a
-- host of its own, with what it was before in a header. Which route had asked is not known any more,
-- and the ruleset may be another by now: then the request is decided by that, as any that begins.
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
    return -- the body went to the first cell, so this route's 503 it is
  end
  local made = ask(handle, spec, headers, path, handle:timestamp(), "-")
  if made and made.cell ~= cell then
    route(handle, handle:headers(), made, "classifier")
  end
end

-- The classifier is out of reach. What was known may serve for a while, unless it is known to have
-- changed; else the route that asked does what the rule says.
local function go_on_without(handle, spec, entry, now)
  local headers = handle:headers()
  if entry then
    read_epochs(handle:streamInfo():filterState():get("cellway.epochs"))
    if holds(entry) and now < entry.ends + STALE_MS then
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
  local spec = specs[name] or learn(name)
  if not spec then
    return -- of a control plane that writes other names: the route says what a dead classifier gets
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
    entry = kept(own_key)
    if entry and now < entry.ends then
      counts.hits = counts.hits + 1
      route(handle, headers, entry, "edge-cache")
      return report_hits(handle, now)
    end
    rest_key = rest_key_of(own_key, spec, headers, path)
    local other = rest_key and kept(rest_key)
    if other and now < other.ends then
      counts.hits = counts.hits + 1
      return route(handle, headers, other, "edge-cache")
    end
    entry = entry or other
    counts.misses = counts.misses + 1
  end
  local made = ask(handle, spec, headers, path, now, newest)
  if made then
    keep(made, own_key, rest_key, spec)
    -- What was got before a call may not be used after it.
    return route(handle, handle:headers(), made, "classifier")
  end
  go_on_without(handle, spec, entry, now)
end
