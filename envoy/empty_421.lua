-- Gives a cell's 421 a body if it has none.
--
-- Runs where a 421 may come before the request's end. Such a request can't be begun again; Envoy's
-- custom_response filter (1.40) tries, fails, and holds the headers back until a body follows them: a
-- response without one would never go out. The compiler puts BODY in front of this.

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "421" and (tonumber(headers:get("content-length")) or 0) == 0 then
    headers:replace("content-type", "application/problem+json")
    handle:body(true):setBytes(BODY)
  end
end
