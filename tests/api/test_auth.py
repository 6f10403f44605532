"""An operation's scope is checked, and an operation without one is for admins."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fastapi import Request

from control_plane.api.auth import CALLER, OPERATOR, VIEWER, Caller, actor_of, check_scope, is_open
from control_plane.api.problem import ProblemError
from control_plane.topology import Scope


def request(caller: Caller, extra: object = None, path: str = "/v1/cells") -> Request:
    route = SimpleNamespace(openapi_extra=extra)
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [],
        "client": ("10.0.0.7", 1),
        "route": route,
        "server": ("h", 80),
    }
    return Request({**scope, "scheme": "http", "query_string": b"", CALLER: caller})


def with_scope(scope: Scope) -> Caller:
    return Caller("id", "ci", scope)


async def test_a_scope_includes_the_lower_ones() -> None:
    for scope in (Scope.OPERATOR, Scope.ADMIN):
        await check_scope(request(with_scope(scope), VIEWER))
        await check_scope(request(with_scope(scope), OPERATOR))


@pytest.mark.parametrize("extra", [None, {}, {"x-other": 1}])
async def test_an_operation_without_a_scope_is_for_admins(extra: object) -> None:
    await check_scope(request(with_scope(Scope.ADMIN), extra))
    with pytest.raises(ProblemError, match="needs the scope admin; ci has operator") as refused:
        await check_scope(request(with_scope(Scope.OPERATOR), extra))
    assert refused.value.status == 403


async def test_probes_need_no_scope() -> None:
    await check_scope(request(with_scope(Scope.VIEWER), None, "/healthz"))


@pytest.mark.parametrize(
    ("caller", "sent_name", "actor"),
    [
        (Caller("", "api", Scope.ADMIN), None, "api@10.0.0.7"),
        (Caller("", "api", Scope.ADMIN), "ann", "api (ann)@10.0.0.7"),
        (Caller("id", "ci", Scope.ADMIN), None, "ci@10.0.0.7"),
        (Caller("id", "ci", Scope.ADMIN), "ann", "ci (ann)@10.0.0.7"),
    ],
)
def test_the_caller_s_name_comes_before_the_name_that_is_sent(
    caller: Caller, sent_name: str | None, actor: str
) -> None:
    assert actor_of(request(caller), sent_name) == actor


@pytest.mark.parametrize(
    ("method", "path", "is_probe"),
    [
        ("GET", "/healthz", True),
        ("HEAD", "/readyz", True),
        ("POST", "/healthz", False),
        ("GET", "/healthz/", False),
        ("GET", "/v1/cells", False),
    ],
)
def test_only_probes_are_open(method: str, path: str, is_probe: bool) -> None:
    assert is_open({"method": method, "path": path}) is is_probe
