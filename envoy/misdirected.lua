-- What is left of a cell's 421 once all was done that could be done is a 503 to the client.
--
-- Runs on routes where that may happen: where a request is asked again, where a body may still be on
-- its way when the answer comes, and where the edge keeps no answers. The cell's body stays.
-- The compiler puts RETRY_AFTER in front of this.

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "421" then
    headers:replace(":status", "503")
    headers:replace("retry-after", RETRY_AFTER)
  end
end
