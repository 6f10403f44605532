"""The requests of tests of restarts, and the counters of Envoy that they compare."""

from __future__ import annotations

from tests.e2e.load import get

NATIVE = get(b"/-/x", b"_gitlab_session=cell-2-a")
AMBIGUOUS = get(b"/foo/x")
TAKEN_UP = (
    r"cluster_manager\.cds\.(update_success|update_rejected|config_reload|version)"
    r"|cluster_manager\.cluster_(added|modified|removed)"
    r"|listener_manager\.lds\.(update_success|update_rejected|config_reload|version)"
    r"|listener_manager\.listener_(added|modified|removed)"
    r"|http\.edge\.rds\..*\.(update_rejected|config_reload|version)"
)
ROUTES_SENT = r"http\.edge\.rds\..*\.update_success"
