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
--   MAX_POSITIVE, MAX_MINTABLE, MAX_NEGATIVE  entries of each cache
--   STALE_MS                    how long an expired answer may be used while the classifier is dead
--
-- After them come the parts that this one uses, in this order:
--
--   edge_cache/bounded_cache.lua  the three caches, and counts for the metrics
--   edge_cache/route_names.lua    what a route's name says, and the keys of answers
--   edge_cache/epochs.lua         which answers are void
--   edge_cache/questions.lua      questions to the classifier, and its answers

local match = string.match

local MAX_KEY = 1024 -- bytes; answers under a longer key are not cached
local NEGATIVE_MS = 2000 -- an answer with at most this time to live is cached as an unknown name's
local REPORT_HITS_MS = 10000 -- if nothing is asked for this long, counts are sent by themselves

local usual_host = nil -- the host of this worker's first request

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

-- Cache an answer. It depends on fewer inputs if the route's own rule gave it.
local function store(entry, own_key, rest_key, spec)
  local key, cache = rest_key, mintable
  if spec.rules[entry.rule] then
    key, cache = own_key, spec.own_cache
  end
  -- New epochs may have come while the classifier answered.
  if key and entry.revision and #key <= MAX_KEY and is_current(entry) then
    if entry.ttl <= NEGATIVE_MS or (cache == positive and #entry.shards == 0) then
      cache = negative
    end
    put(cache, key, entry)
  end
end

-- Return the answer that this cache or the negative one holds, which may have expired; nil if there is
-- none, or an epoch voids it.
local function cached(cache, key)
  local entry = get(cache, key) or get(negative, key)
  if entry and is_current(entry) then
    return entry
  end
  return nil
end

-- Forget every answer to this request that routes of this ruleset have cached.
local function forget_all(ruleset, headers, path)
  for _, spec in pairs(specs) do
    if spec.own and spec.ruleset == ruleset then
      local own_key = own_key_of(spec, headers, path)
      for _, key in pairs({ own_key, rest_key_of(own_key, spec, headers, path) }) do
        forget(positive, key)
        forget(mintable, key)
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
  elseif SHOW_TIER then
    headers:add("x-cellway-tier", "classifier") -- whose answer is missing
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
    entry = cached(spec.own_cache, own_key)
    if entry and now < entry.expires_at then
      counts.hits = counts.hits + 1
      route(handle, headers, entry, "edge-cache")
      return report_hits(handle, now)
    end
    rest_key = rest_key_of(own_key, spec, headers, path)
    local other = rest_key and cached(mintable, rest_key)
    if other and now < other.expires_at then
      counts.hits = counts.hits + 1
      route(handle, headers, other, "edge-cache")
      return report_hits(handle, now)
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
