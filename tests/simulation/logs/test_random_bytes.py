"""Whatever a log holds, reading it ends with requests or with a reason."""

from __future__ import annotations

import contextlib
import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.routing.model import Cells
from control_plane.simulation.comparison import Comparison
from control_plane.simulation.logs.log_file import BadLog, LogFile, LogFormat
from control_plane.simulation.worlds import World
from tests.simulation.rules import AGENT, PATH, REFERER, TENANT_HEADER, claim, ruleset

WORLD = World(
    ruleset(
        *(claim(match, "x") for match in (AGENT, REFERER, TENANT_HEADER)),
        claim({"type": "cookie", "name": "^s", "regexValue": "a"}, "y"),
        claim({"type": "query_string", "regexValue": "a=(?<q>.*)"}, "${q}"),
        claim(PATH, "${p}"),
    ),
    Cells(()),
)
SAMPLES = [
    b'{"method": "GET", "path": "/a?a=1", "authority": "h", "cookie": "s=a", "x_tenant": "t"}',
    b'h.example:80 - - - [30/Nov/2026:03:12:00 +0000] "GET /a HTTP/1.1" 200 0 "r" "u"',
    b'{"log": {"entries": [{"request": {"method": "GET", "url": "/a?b#c", "headers": []}}, {}]}}',
]
JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(["GET", "/a", "\ud800", "-"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["method", "path", "request", "headers", "cookie", "url", "log"]),
            inner,
        )
    ),
    max_leaves=8,
)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A log of which some bytes are others, or random JSON, or random bytes."""
    lines = draw(st.lists(st.sampled_from(SAMPLES) | JSON.map(_text) | st.binary(), max_size=4))
    content = bytearray(b"\n".join(lines))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)))):
        content[place : place + 1] = bytes([byte])
    packed = gzip.compress(bytes(content)) if draw(st.booleans()) else bytes(content)
    return packed[: draw(st.integers(0, len(packed)))] if draw(st.booleans()) else packed


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("log_format", [None, *LogFormat])
@settings(max_examples=60, deadline=None)
@given(content=contents())
def test_no_content_is_a_fault(log_format: LogFormat | None, content: bytes) -> None:
    compared = Comparison(WORLD, WORLD, lambda keys: [None] * len(keys), examples=2)
    with contextlib.suppress(BadLog):
        log = LogFile(io.BytesIO(content), log_format)
        compared.run(log, "h")
        report = compared.tally.as_dict()
        assert report["requests"] + report["unreadable"]["count"] <= log.lines
    json.dumps(compared.tally.as_dict(), ensure_ascii=False).encode()
