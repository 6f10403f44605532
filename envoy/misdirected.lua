-- Turns a cell's 421 into a 503 for the client, when nothing else can be done about it.
--
-- Runs on three kinds of routes: those for a request that is asked again, those where a body may still be
-- coming when the answer comes, and those of an edge without a cache. The cell's body stays. The compiler
-- writes RETRY_AFTER in front of this.

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "421" then
    headers:replace(":status", "503")
    headers:replace("retry-after", RETRY_AFTER)
  end
end
