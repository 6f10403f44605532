"""Requests of other sites' pages, and those to other hosts, are refused before anything else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.api.middleware.asgi import Message, Receive, Send
from control_plane.api.middleware.own_origin import PAGES, OwnOrigin
from tests.api.middleware.connection import Connection, sent_to

HOST = "localhost:8000"


async def answers(_: Message, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def asked(
    *headers: tuple[str, str],
    hosts: tuple[str, ...] | None = (),
    strangers: bool = True,
    method: str = "POST",
    path: str = "/v1/cells",
) -> tuple[Connection, list[str]]:
    refused: list[str] = []
    app = OwnOrigin(answers, hosts, admits_strangers=strangers, refused=refused.append)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return await sent_to(app, b"x", method=method, path=path, headers=raw), refused


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]",
     "[::1]:8000", "[0:0:0:0:0:0:0:1]:80", "cellway.example", "Cellway.Example:443", "10.0.0.7:80"],
)  # fmt: skip
async def test_loopback_and_configured_hosts_pass(host: str) -> None:
    hosts = ("cellway.example", "10.0.0.7")
    connection, refused = await asked(("host", host), hosts=hosts)
    assert (connection.status, refused) == (200, [])


async def test_what_an_edge_passes_on_is_no_operator_s() -> None:
    through = (("host", HOST), ("X-Cellway-Cell", "cell-1"))
    connection, refused = await asked(*through)
    assert (connection.status, refused) == (421, ["through-an-edge"])
    connection, _ = await asked(*through, strangers=False)
    assert connection.status == 200, "whoever shows a token may come any way"


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 421), ("evil.example:8000", 421), ("localhost.evil.example", 421),
     ("127.0.0.1.evil.example", 421), ("10.0.0.1", 421), ("0.0.0.0:8000", 421), ("[::]", 421),
     ("127.1", 421), ("cellway.example.evil", 421), ("a@localhost", 400), ("localhost:x", 400),
     ("local host", 400), ("localhost/", 400), ("[::1", 400), ("localh\xf6st", 400), ("", 421)],
)  # fmt: skip
async def test_other_hosts_are_refused_unread(host: str, status: int) -> None:
    connection, refused = await asked(("host", host), hosts=("cellway.example",))
    assert connection.status == status
    assert refused == [{421: "wrong-host", 400: "malformed-host"}[status]]
    assert (await connection.receive())["body"] == b"x"


async def test_two_hosts_are_none() -> None:
    connection, _ = await asked(("host", HOST), ("host", HOST))
    assert connection.status == 400


@pytest.mark.parametrize(
    ("strangers", "hosts", "path", "status"),
    [
        (False, (), "/v1/cells", 200),
        (False, ("cellway.example",), "/v1/cells", 421),
        (False, ("cellway.example",), "/readyz", 200),
        (True, (), "/readyz", 421),
        (True, None, "/v1/cells", 200),
    ],
)
async def test_with_a_token_any_host_passes_unless_hosts_are_configured(
    strangers: bool, hosts: tuple[str, ...] | None, path: str, status: int
) -> None:
    options = {"hosts": hosts, "strangers": strangers, "path": path, "method": "GET"}
    assert (await asked(("host", "lb.example"), **options))[0].status == status


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://localhost:3000", "http://localhost", "file://",
     "http://localhost:8000.evil.example", "https://evil.example/localhost:8000", HOST,
     "chrome-extension://localhost:8000", "http://evil@localhost:8000", "http://\xff"],
)  # fmt: skip
@pytest.mark.parametrize("strangers", [True, False])
async def test_other_origins_are_refused(origin: str, strangers: bool) -> None:
    connection, refused = await asked(("host", HOST), ("origin", origin), strangers=strangers)
    assert (connection.status, refused) == (403, ["cross-site"])


async def test_own_origins_pass_also_behind_a_proxy() -> None:
    for origin in (f"http://{HOST}", f"https://{HOST}", "https://cellway.example"):
        connection, _ = await asked(
            ("host", HOST), ("origin", origin), hosts=("cellway.example",), strangers=False
        )
        assert connection.status == 200
    both = [("host", HOST), ("origin", f"http://{HOST}"), ("origin", "http://evil.example")]
    assert (await asked(*both))[0].status == 403


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403), ("x", 403)],
)
async def test_reads_and_writes_of_other_sites_are_refused(
    method: str, site: str, status: int
) -> None:
    connection, _ = await asked(("host", HOST), ("sec-fetch-site", site), method=method)
    assert connection.status == status


async def test_a_link_opens_pages_and_nothing_else() -> None:
    link = [("host", HOST), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
    tab, frame = [*link, ("sec-fetch-dest", "document")], [*link, ("sec-fetch-dest", "iframe")]
    for page in PAGES:
        assert (await asked(*tab, method="GET", path=page))[0].status == 200
        assert (await asked(*frame, method="GET", path=page))[0].status == 403
        assert (await asked(*tab, method="POST", path=page))[0].status == 403
    assert (await asked(*tab, method="GET", path="/v1/cells"))[0].status == 403


async def test_no_answer_may_be_framed_or_read_by_other_sites() -> None:
    for headers in ([("host", HOST)], [("host", "evil.example")]):
        answer, _ = await asked(*headers)
        assert answer.headers[b"x-frame-options"] == b"DENY"
        assert answer.headers[b"cross-origin-resource-policy"] == b"same-origin"
        assert answer.headers[b"x-content-type-options"] == b"nosniff"


OWN = re.compile(r"(localhost\.?|\[::1\]|127\.\d+\.\d+\.\d+\.?)(:\d*)?\Z", re.IGNORECASE | re.ASCII)
NAMES = st.sampled_from(["localhost", "127.0.0.1", "evil.example", "[::1]", "10.0.0.1", "a.b", ""])
NOISE = st.text(st.characters(max_codepoint=255), max_size=8)


@given(before=NOISE, name=NAMES, after=NOISE)
async def test_only_loopback_itself_is_taken_for_loopback(
    before: str, name: str, after: str
) -> None:
    host = f"{before}{name}{after}"
    connection, _ = await asked(("host", host))
    assert connection.status in {200, 400, 421}
    if connection.status == 200:
        assert OWN.match(host), host
