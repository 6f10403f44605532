"""Envoy's JSON access logs, with the field names of several products."""

from __future__ import annotations

import json
from typing import Any

import pytest

from control_plane.simulation.logs.envoy_json import MAX_PLANS, EnvoyJson
from control_plane.simulation.logs.recorded import Recorded, Unreadable
from tests.simulation.rules import TENANT_HEADER, aspects_of


def read(**fields: Any) -> Recorded:
    reader = EnvoyJson(aspects_of(TENANT_HEADER), "default.example")
    return reader.read(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "PUT", "path": "/a", "authority": "h.example"},
        {":method": "PUT", ":path": "/a", ":authority": "h.example"},
        {"method": "PUT", "x-envoy-origin-path": "/a", "path": "/rewritten", "host": "h.example"},
        {"request": {"request_method": "PUT", "path": "/a", "authority": "h.example"}},
    ],
)
def test_method_path_and_host_have_many_names(fields: dict[str, Any]) -> None:
    assert read(**fields) == Recorded("PUT", b"/a", b"h.example", ())


def test_a_field_that_is_called_like_a_header_is_that_header() -> None:
    for name in ("x-tenant", "X_Tenant"):
        assert read(method="GET", path="/", **{name: "t", "user_agent": "u"}).headers == (
            ("x-tenant", b"t"),
        )
    nested = {"headers": {"X-Tenant": "t", "other": "o"}}
    assert read(method="GET", path="/", **nested).headers == (("x-tenant", b"t"),)


def test_what_is_absent_is_no_value() -> None:
    recorded = read(method="GET", path="/", authority="-", x_tenant=None)
    assert recorded == Recorded("GET", b"/", b"default.example", ())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\xff{", "it is not JSON"),
        (b"[1]", "it is no JSON object"),
        (b'{"method": "GET"}', "it has no path: none of the fields"),
        (b'{"path": "/"}', "it has no method: none of the fields"),
        (b'{"path": 7, "method": "GET"}', "it has no path"),
        (b"[" * 100_000, "it is not JSON"),
    ],
)
def test_other_lines_are_told_with_their_reasons(line: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        EnvoyJson(aspects_of(), "h").read(line)


def test_many_sets_of_fields_are_read_within_bounds() -> None:
    reader = EnvoyJson(aspects_of(), "h")
    for number in range(MAX_PLANS + 5):
        line = json.dumps({"method": "GET", "path": f"/{number}", f"f{number}": 1})
        assert reader.read(line.encode()).target == f"/{number}".encode()
