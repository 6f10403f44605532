-- Part of the edge cache (see edge_cache.lua): the caches of this worker, which can't outgrow their bounds.
--
-- A stranger can send any number of names, and of tokens that look right and name a cell. If their answers
-- were in one cache with those of the tenants' names, they would push them out. So there are three:
--
--   positive   answers by a name of the path or host that somebody has claimed; nobody can make such up
--   mintable   answers that depend on more, such as a token, a cookie or the query
--   negative   answers for names without an owner, and those that rest on no claim

-- What this worker has done since its last report; see questions.lua.
local counts = { hits = 0, misses = 0, stale = 0, evictions = 0, misdirected = 0 }

-- A bounded cache of two generations. An entry that is used moves to the young generation. When that
-- is full, the old generation is dropped as a whole and the young one takes its place.
local function new_cache(max_entries)
  return { young = {}, old = {}, size = 0, half = max_entries / 2 }
end

local positive = new_cache(MAX_POSITIVE)
local mintable = new_cache(MAX_MINTABLE)
local negative = new_cache(MAX_NEGATIVE)

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
