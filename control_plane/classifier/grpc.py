"""ext_authz over gRPC: the same decisions as over HTTP, for fleets that prefer it."""

from __future__ import annotations

import time
from typing import Any

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from google.rpc import code_pb2

from control_plane.classifier.answer import answer_headers
from control_plane.classifier.authentication import NO_EDGE, Authentication
from control_plane.classifier.cache.tiered import CachedLookup
from control_plane.classifier.decide import Decider
from control_plane.classifier.failures import FAILURES, Failures
from control_plane.classifier.metrics import DecisionObserver
from control_plane.names import EDGE_SECRET_HEADER, RULESET_CONTEXT
from control_plane.routing.admission.headers import UNSEEN_BY_RULES
from control_plane.routing.model import Request

_OVERWRITE = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD

_UNREAD = UNSEEN_BY_RULES | {":authority", ":method", ":path", ":scheme"}
"""Headers that are not passed to the rules: pseudo-headers, and those that no rule may see."""


class Authorization(external_auth_pb2_grpc.AuthorizationServicer):  # type: ignore[misc]  # untyped
    """The service ``envoy.service.auth.v3.Authorization``."""

    def __init__(
        self,
        decider: Decider,
        observer: DecisionObserver,
        authentication: Authentication | None,
        lookup: CachedLookup | None = None,
    ) -> None:
        """Make the service.

        Args:
            decider: Decides; without ``lookup``, it looks claims up itself.
            observer: Is told what happens.
            authentication: Tells edges by their secret; None where their certificates do.
            lookup: Looks claims up without blocking.
        """
        self._decider = decider
        self._authentication = authentication
        self._observer = observer
        self._lookup = lookup
        self._failures = Failures(observer)

    async def Check(  # noqa: N802 - the name in the protocol
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        """Answer OK with headers; abort if no edge asks, or the request can't be decided now."""
        started = time.perf_counter()
        if self._authentication is not None:
            await _authenticate(self._authentication, context)
        client_request = request_of(request)
        ruleset = request.attributes.context_extensions.get(RULESET_CONTEXT)
        try:
            if self._lookup is None:
                verdict = self._decider.decide(client_request, ruleset)
            else:
                # An edge that asks over gRPC has no cache, and does not say what it knows.
                verdict = await self._decider.decide_async(
                    self._lookup, client_request, None, ruleset
                )
        except FAILURES as error:
            reason = self._failures.reason(error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, reason.value)
        decision = verdict.decision
        response = external_auth_pb2.CheckResponse()
        response.status.code = code_pb2.OK
        for name, value in answer_headers(decision):
            response.ok_response.headers.add(
                header=base_pb2.HeaderValue(key=name, value=value), append_action=_OVERWRITE
            )
        self._observer.classified(decision, time.perf_counter() - started)
        return response

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        external_auth_pb2_grpc.add_AuthorizationServicer_to_server(self, server)


async def _authenticate(
    authentication: Authentication, context: grpc.aio.ServicerContext[Any, Any]
) -> None:
    """Abort with UNAUTHENTICATED unless the call carries the edges' secret, or needs none."""
    shown: bytes | None = None
    for name, value in context.invocation_metadata() or ():
        if name == EDGE_SECRET_HEADER:
            shown = value if isinstance(value, bytes) else value.encode()
    if shown is not None and authentication.is_secret(shown):
        return
    if not authentication.admits(shown, context.peer()):
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, NO_EDGE)


def request_of(check: Any) -> Request:
    """Return the request that Envoy asks about, with raw header bytes where Envoy sends them."""
    http = check.attributes.request.http
    path: bytes | None = None
    headers: list[tuple[str, bytes]] = []
    # Envoy sends all headers. Most are not read, since reading one takes a microsecond.
    for header in http.header_map.headers:
        name = header.key
        if name == ":path":
            path = header.raw_value or header.value.encode()
        elif name not in _UNREAD:
            headers.append((name, header.raw_value or header.value.encode()))
    if path is None and not headers:
        headers = [
            (name, value.encode()) for name, value in http.headers.items() if name not in _UNREAD
        ]
        path = http.headers[":path"].encode() if ":path" in http.headers else None
    if path is None:
        path = http.path.encode()
    return Request(http.method, http.host.encode(), path, tuple(headers))
