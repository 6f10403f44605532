-- Gives a cell's 421 a body if it has none.
--
-- Runs on routes where a 421 may come before the request has ended. Envoy's custom_response filter (1.40)
-- tries to start such a request again, fails, and then holds the response headers back until a body
-- follows: without one, the client would never get an answer. The compiler writes BODY in front of this.

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "421" and (tonumber(headers:get("content-length")) or 0) == 0 then
    headers:replace("content-type", "application/problem+json")
    handle:body(true):setBytes(BODY)
  end
end
