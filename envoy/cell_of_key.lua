-- Picks the cluster of a native rule with a key. The compiler puts in front of this:
--   HEADER   the header that holds the key
--   MARK     text that stands once in that header, in front of the key ("" where the key leads)
--   PATTERN  from MARK's end to the key, which is its one capture
--   CLUSTERS cluster by key
-- The route that gets here was matched by RE2 and holds a known key, so a nil can't come of a
-- client's request; if one did, Envoy would find no such cluster and refuse.
local find, match = string.find, string.match

function envoy_on_route(route)
  local text = route:headers():get(HEADER)
  local _, stop = find(text, MARK, 1, true)
  return CLUSTERS[match(text, PATTERN, stop + 1)]
end
