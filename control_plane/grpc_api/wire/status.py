"""The gRPC status of each error, and its text, which is cut to fit a trailer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote

import grpc

from control_plane.topology.values.errors import (
    AlreadyExists,
    Contention,
    DatabaseFailed,
    DatabaseFull,
    DatabaseTrouble,
    Gone,
    Invalid,
    LeaseSettled,
    Locked,
    NotFound,
    Refused,
    StaleVersion,
    TopologyError,
    Unavailable,
)

log = logging.getLogger(__name__)
Code = grpc.StatusCode
MAX_TEXT_BYTES = 4096
"""The length of a status text at most, as it is sent (percent-encoded).

Clients take no more than 8 KiB of trailers.
"""
_CODES: Mapping[type[TopologyError], grpc.StatusCode] = MappingProxyType(
    {
        Invalid: Code.INVALID_ARGUMENT,
        NotFound: Code.NOT_FOUND,
        AlreadyExists: Code.ALREADY_EXISTS,
        Locked: Code.FAILED_PRECONDITION,
        LeaseSettled: Code.FAILED_PRECONDITION,
        Refused: Code.FAILED_PRECONDITION,
        StaleVersion: Code.ABORTED,
        Contention: Code.ABORTED,
        Gone: Code.OUT_OF_RANGE,
        Unavailable: Code.UNAVAILABLE,
        DatabaseFull: Code.RESOURCE_EXHAUSTED,
        DatabaseTrouble: Code.UNAVAILABLE,
        DatabaseFailed: Code.INTERNAL,
    }
)
_PRINTABLE = "".join(chr(byte) for byte in range(0x20, 0x7F) if chr(byte) != "%")


class CallError(Exception):
    """A call is refused with this status, for a reason that the topology knows nothing of."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def failure(error: CallError | TopologyError) -> tuple[grpc.StatusCode, str]:
    """Return the status and the text that a client gets for an error."""
    if isinstance(error, CallError):
        return error.code, bounded(str(error))
    if isinstance(error, DatabaseFailed) and not isinstance(error, DatabaseTrouble):
        log.error("a call failed", exc_info=error)
    # An error has the status of the nearest class that has one.
    statuses = (_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    return next(statuses, Code.INTERNAL), bounded(str(error))


def bounded(text: str) -> str:
    """Return the text, cut so that its percent-encoding stays within `MAX_TEXT_BYTES`."""
    if len(quote(text, safe=_PRINTABLE)) <= MAX_TEXT_BYTES:
        return text
    length, size = 0, len("…") * 9
    for char in text:
        size += len(quote(char, safe=_PRINTABLE))
        if size > MAX_TEXT_BYTES:
            break
        length += 1
    return text[:length] + "…"
