-- Part of the edge cache (see edge_cache.lua): questions to the classifier, its answers, and the counts
-- that travel with a question.

local sub, match, gmatch = string.sub, string.match, string.gmatch
local concat, tonumber, random = table.concat, tonumber, math.random

local REPORT_MS = 1000 -- counts travel to the classifier with a question, at most this often
local OPTIONS = { timeout_ms = TIMEOUT_MS, send_xff = false }

local reported_at = 0

-- Return the counts since the last report, and begin anew.
local function report(now)
  local text = concat({
    "hits=", counts.hits, " misses=", counts.misses, " stale=", counts.stale,
    " evictions=", counts.evictions, " entries=", positive.size + mintable.size + negative.size,
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
