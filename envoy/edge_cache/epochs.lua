-- Part of the edge cache (see edge_cache.lua): which answers are void.

local match, gmatch = string.match, string.gmatch
local tonumber, max = tonumber, math.max

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
