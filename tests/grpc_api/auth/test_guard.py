"""The interceptor checks every kind of handler before the handler sees the call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest

from control_plane.grpc_api.auth.access import OWN_GROUP, Access
from control_plane.grpc_api.auth.callers import Callers
from control_plane.grpc_api.auth.guard import AccessGuard, current_caller
from control_plane.grpc_api.auth.identity import NamePatterns, Role
from control_plane.grpc_api.auth.trust import Trust
from control_plane.grpc_api.wire.status import Code
from tests.support.certificates import Authority

PATTERNS = NamePatterns(
    {Role.CELL: (r"u:cell-(?P<cell>\d+)",), Role.NODE: (r"u:(?P<group>\w+)/(?P<node>\w+)",)}
)
AUTHORITY = Authority()
EVERY_NAME = Trust({})


class Refused(Exception):
    """The context was aborted."""


class Context:
    def __init__(self, *names: str) -> None:
        self._pem = AUTHORITY.sign(*(f"u:{name}" for name in names)).certificate

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._pem]}

    def peer(self) -> str:
        return "ipv4:10.0.0.7:1"

    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Refused(code, text)


class Refusals:
    def __init__(self) -> None:
        self.seen: list[tuple[str, grpc.StatusCode]] = []

    def refused(self, method: str, code: grpc.StatusCode) -> None:
        self.seen.append((method, code))


async def guarded(handler: Any, access: Access, refusals: Refusals | None = None) -> Any:
    callers = Callers(PATTERNS, lambda: EVERY_NAME)
    guard = AccessGuard(callers, lambda _: access, refusals or Refusals())

    async def continuation(_: Any) -> Any:
        return handler

    details: Any = SimpleNamespace(method="/s/m")
    return await guard.intercept_service(continuation, details)


async def call(request: Any, _: Any) -> str:
    return f"{current_caller.get()} {request.cell_id}"


async def test_a_caller_that_may_is_handed_on_with_its_name() -> None:
    handler = await guarded(grpc.unary_unary_rpc_method_handler(call), Access(matching_cell=True))
    request = SimpleNamespace(cell_id=3)
    assert await handler.unary_unary(request, Context("cell-3")) == "cell/3 3"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ((), Code.UNAUTHENTICATED),
        (("stranger",), Code.UNAUTHENTICATED),
        (("cell-3", "x"), Code.UNAUTHENTICATED),
        (("cell-4",), Code.PERMISSION_DENIED),
        (("edge/n1",), Code.PERMISSION_DENIED),
    ],
)
async def test_others_are_refused_and_counted(names: tuple[str, ...], code: Code) -> None:
    refusals = Refusals()
    handler = await guarded(
        grpc.unary_unary_rpc_method_handler(call), Access(matching_cell=True), refusals
    )
    with pytest.raises(Refused) as refused:
        await handler.unary_unary(SimpleNamespace(cell_id=3), Context(*names))
    assert refused.value.args[0] is code
    assert refusals.seen == [("/s/m", code)]


async def test_a_method_that_is_not_served_stays_so() -> None:
    assert await guarded(None, Access(anyone=True)) is None


async def names_of(requests: AsyncIterator[Any], _: Any) -> AsyncIterator[str]:
    async for request in requests:
        yield request.node.id


async def stream(*nodes: tuple[str, str]) -> AsyncIterator[DiscoveryRequest]:
    for group, node in nodes:
        request = DiscoveryRequest()
        request.node.id, request.node.cluster = node, group
        yield request
    yield DiscoveryRequest()


async def test_a_stream_is_served_until_it_names_another_node() -> None:
    handler = await guarded(grpc.stream_stream_rpc_method_handler(names_of), OWN_GROUP)
    own = handler.stream_stream(stream(("edge", "n1"), ("edge", "n1")), Context("edge/n1"))
    assert [name async for name in own] == ["n1", "n1", ""]
    seen: list[str] = []
    with pytest.raises(Refused, match="node 'n2' of group 'edge'"):
        async for name in handler.stream_stream(
            stream(("edge", "n1"), ("edge", "n2")), Context("edge/n1")
        ):
            seen.append(name)
    assert seen == ["n1"]
