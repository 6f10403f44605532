-- Part of the edge cache (see edge_cache.lua): what a route's name says, and the cache keys that follow
-- from it. For example,
--
--   ask:org ruleset=5d0a0e1c7e3f4b21 next=0 path=3 own= rest=x-token rules=org ask=cookie,x-token
--
-- means: the answer of the rule org depends on the path up to its third slash, and the answers of later
-- rules on X-Token too. Cookie and X-Token go to the classifier, which decides by the ruleset with this
-- digest. Lists are separated by commas; "?" is the query, and "/" stands for what can't be listed.

local find, sub, match, gmatch = string.find, string.sub, string.match, string.gmatch
local concat, tonumber = table.concat, tonumber

local MAX_SPECS = 4096 -- route names; one ruleset has at most a quarter as many
local specs, specs_count = {}, 0 -- by route name
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

-- Return the cache for answers by the route's own rule, which depend on these inputs.
local function cache_for(names, query)
  for index = 1, #names do
    if sub(names[index], 1, 1) ~= ":" then
      return mintable
    end
  end
  return query and mintable or positive
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
      spec.own_cache = spec.own and cache_for(spec.own, spec.own_query)
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
