"""Classify as JSON, as grpc-gateway maps it: HTTP Routers send and read this."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import grpc
from google.protobuf import json_format

from control_plane.grpc_api.directory import LiveDirectories
from control_plane.grpc_api.generated.classify_service_pb2 import (
    ClassifyRequest,
    ClassifyResponse,
    ClassifyType,
)
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.grpc_api.server.pool import CallPool
from control_plane.grpc_api.services.classify import MAX_CLAIMS, classify, too_many_claims
from control_plane.grpc_api.wire.status import CallError, Code, failure
from control_plane.topology.values.errors import Invalid, Problem, TopologyError

_HTTP: Mapping[grpc.StatusCode, int] = MappingProxyType(
    {
        Code.OK: 200,
        Code.INVALID_ARGUMENT: 400,
        Code.FAILED_PRECONDITION: 400,
        Code.OUT_OF_RANGE: 400,
        Code.UNAUTHENTICATED: 401,
        Code.PERMISSION_DENIED: 403,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.ABORTED: 409,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.CANCELLED: 499,
        Code.UNIMPLEMENTED: 501,
        Code.UNAVAILABLE: 503,
        Code.DEADLINE_EXCEEDED: 504,
    }
)
"""The HTTP status of each code, as in grpc-gateway's runtime. All others are 500."""
_CLAIM_KEYS = frozenset(
    name for field in Claim.DESCRIPTOR.fields for name in (field.name, field.json_name)
)
_TYPES = frozenset(value.name for value in ClassifyType.DESCRIPTOR.values)
_MAX_SHOWN = 100
_MAX_ERROR = 500


@dataclass(frozen=True, slots=True)
class CacheTimes:
    """For how many seconds clients may keep an answer; 0 forbids it."""

    owned_s: int
    """An answer that names a cell."""
    not_found_s: int
    """The answer that nobody owns the claims."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: status, JSON body and Cache-Control."""

    status: int
    body: bytes
    cache_control: str


class Gateway:
    """Answers ``POST /v1/classify``: in the pool ``lookups``, or without one on the event loop."""

    def __init__(
        self,
        live: LiveDirectories,
        times: CacheTimes,
        observe: Callable[[grpc.StatusCode], None],
        lookups: CallPool | None = None,
    ) -> None:
        self._lookups = lookups
        self._live = live
        self._owned = _cache_control(times.owned_s)
        self._not_found = _cache_control(times.not_found_s)
        self._observe = observe

    async def classify(self, body: bytes) -> Answer:
        """Answer a request with this body. Errors are a google.rpc.Status as JSON."""
        try:
            request = read_request(body)
            if self._lookups is None:
                response = classify(request, self._live.of_this_thread())
            else:
                response = await self._lookups.run(
                    lambda: classify(request, self._live.of_this_thread()), None
                )
        except (CallError, TopologyError) as error:
            code, text = failure(error)
            self._observe(code)
            number: int = code.value[0]
            document = {"code": number, "message": text, "details": []}
            cache_control = self._not_found if code is Code.NOT_FOUND else _cache_control(0)
            return Answer(_HTTP.get(code, 500), json.dumps(document).encode(), cache_control)
        self._observe(Code.OK)
        return Answer(200, write_response(response), self._owned)


def _cache_control(seconds: int) -> str:
    return f"max-age={seconds}" if seconds else "no-store"


def read_request(body: bytes) -> ClassifyRequest:
    """Read a request in JSON, for example ``{"claims": [{"projectId": "42"}]}``.

    Enums are names or numbers. Fields are in lowerCamelCase or as in the ``.proto``. As in
    grpc-gateway, unknown fields of the request itself are ignored. An unknown claim or type would
    change the question, so it is refused.

    Raises:
        Invalid: The body is no such JSON. The error names the wrong place.
    """
    if not body.strip():
        return ClassifyRequest()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid("body", f"it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _invalid("body", "it is no JSON object")
    _check_names(document)
    try:
        return json_format.ParseDict(document, ClassifyRequest(), ignore_unknown_fields=True)
    except (
        json_format.ParseError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise _invalid("body", str(error)[:_MAX_ERROR]) from error


def _check_names(document: Mapping[str, Any]) -> None:
    kind = document.get("type")
    if isinstance(kind, str) and kind not in _TYPES:
        raise _invalid("type", f"invalid type {kind[:_MAX_SHOWN]!r}")
    claims = document.get("claims")
    named = [("claim", document.get("claim"))]
    if isinstance(claims, list):
        if len(claims) > MAX_CLAIMS:
            # Before they are read: a body has room for 50,000, which would take half a second.
            raise too_many_claims(len(claims))
        named += [(f"claims[{index}]", claim) for index, claim in enumerate(claims)]
    for where, claim in named:
        for key in claim if isinstance(claim, dict) else ():
            if key not in _CLAIM_KEYS:
                raise _invalid(where, f"claim type {key[:_MAX_SHOWN]!r} is not known here")


def _invalid(where: str, message: str) -> Invalid:
    return Invalid(Problem(where, message, "send a ClassifyRequest as JSON"))


def write_response(response: ClassifyResponse) -> bytes:
    """Return a response in JSON with every field present, as grpc-gateway writes it."""
    document = json_format.MessageToDict(response, always_print_fields_with_no_presence=True)
    document.setdefault("matchedClaim", None)
    return json.dumps(document, separators=(",", ":")).encode()
