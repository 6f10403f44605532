"""Rules and requests for several Host headers, or a Host that is not the target's."""

from __future__ import annotations

from typing import Any

from tests.support.raw_http import RawResponse, request_bytes
from tests.support.raw_http2 import Http2Refusal
from tests.support.system import System

HOSTS_RULES: dict[str, Any] = {
    "name": "hosts",
    "rules": [
        *(
            {
                "id": f"native-{cell}",
                "match": {"type": "host", "regexValue": regex},
                "action": "proxy",
                "proxy": {"cell": cell},
            }
            for cell, regex in (
                ("cell-1", r"^a\.native$"),
                ("cell-2", r"^b\.native$"),
                ("cell-3", r"^a\.native,b\.native$"),
            )
        ),
        {
            "id": "asked",
            "match": {"type": "host", "regexValue": r"^(?<host>.*\.asked)$"},
            "action": "classify",
            "classify": {"claims": [{"tenant": "${host}"}]},
            "on_unknown": 404,
        },
    ],
}
CLAIMS = {"cell-1": "a.asked", "cell-2": "b.asked", "cell-3": "a.asked,b.asked"}
Hosts = tuple[bytes, ...]
CASES: list[tuple[bytes, Hosts]] = [
    (target, tuple(f"{host}.{tier}".encode() if host else b"" for host in hosts))
    for tier in ("native", "asked")
    for target in (b"/x", f"http://b.{tier}/x".encode(), f"http://u:p@b.{tier}:80/x".encode())
    for hosts in (("a",), ("b",), ("a", "b"), ("b", "a"), ("a", "a"), ("a", ""), ("", "b"), ())
]
BLOCKS: list[tuple[bytes | None, Hosts]] = [
    (
        f"{authority}.{tier}".encode() if authority else None,
        tuple(f"{host}.{tier}".encode() for host in hosts),
    )
    for tier in ("native", "asked")
    for authority in ("a", "b", None)
    for hosts in ((), ("a",), ("b",), ("a", "b"))
]


def use_hosts(system: System) -> None:
    """Add cells, claims and rules that tell hosts apart, by native rules and by the classifier."""
    system.add_cells()
    for cell, value in CLAIMS.items():
        system.claim(cell, f"tenant:{value}")
    system.use_ruleset(HOSTS_RULES)
    system.in_step()


def seen(response: RawResponse | Http2Refusal | None) -> str:
    """Return the cell that answered, or the edge's status; a refusal over HTTP/2 counts as 400."""
    if isinstance(response, Http2Refusal):
        return "400"
    assert response is not None
    cell = response.header("x-example-cell")
    return cell.decode() if cell is not None else str(response.status)


def raw_request(target: bytes, hosts: Hosts) -> bytes:
    return request_bytes(target, [("Host", host) for host in hosts], host=None)
