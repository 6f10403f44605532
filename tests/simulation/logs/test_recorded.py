"""A recorded request, as people are shown it."""

from __future__ import annotations

from control_plane.simulation.logs.recorded import Recorded


def test_headers_are_not_shown() -> None:
    recorded = Recorded("\ud800", b"/\xff", b"h", (("cookie", b"secret"),))
    assert recorded.as_dict() == {
        "method": "?",
        "host": "h",
        "path": "/\N{REPLACEMENT CHARACTER}",
    }
