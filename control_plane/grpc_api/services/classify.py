"""Classify: which cell a claim, a session prefix or a cell id belongs to."""

from __future__ import annotations

from google.protobuf.message import Message

from control_plane.grpc_api.directory import Directory, LiveDirectories, LiveDirectory
from control_plane.grpc_api.generated.classify_service_pb2 import (
    CELL_ID,
    DESCRIPTOR,
    FIRST_CELL,
    PROXY,
    SESSION_PREFIX,
    ClassifyRequest,
    ClassifyResponse,
    ClassifyType,
)
from control_plane.grpc_api.generated.types.v1.claim_pb2 import Claim
from control_plane.grpc_api.server.methods import ServiceMethods
from control_plane.grpc_api.wire.claim_types import claim_key
from control_plane.names import cell_id
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.claim_key import MAX_SPELLING, ClaimKey
from control_plane.topology.values.errors import Invalid, NotFound, Problem

MAX_CLAIMS = 100
"""Claims in one chain."""
_MAX_SHOWN = 200


def classify(request: ClassifyRequest, live: LiveDirectory) -> ClassifyResponse:
    """Return the cell to proxy to.

    If the request has claims, the first of them that a cell owns decides. Otherwise ``type`` and
    ``value`` name the cell.

    Raises:
        Invalid: The request asks for nothing, or for something that this server does not know.
        NotFound: No cell owns any of the claims, or there is no such cell.
    """
    chain = _chain(request)
    directory = live.current()
    if not chain:
        return _answer(_static(request, directory))
    keys = [claim_key(claim, where) for where, claim in chain]
    for (_, claim), owner in zip(chain, live.owner_ids_of(_claimable(keys)), strict=True):
        cell = directory.by_id.get(owner) if owner is not None else None
        if cell is not None:
            return _answer(cell, claim)
    raise NotFound("claim", _shown(keys))


def too_many_claims(count: int) -> Invalid:
    """Return the error for a chain that is too long."""
    return Invalid(Problem("claims", f"{count} claims in one chain", f"send at most {MAX_CLAIMS}"))


def _claimable(keys: list[ClaimKey]) -> list[ClaimKey]:
    """Return the keys, with an empty value for one that is too long to have been claimed.

    An empty value belongs to nobody. To normalise a long one would hold the event loop.
    """
    return [key if len(key.value) <= MAX_SPELLING else ClaimKey(key.bucket, "") for key in keys]


def _chain(request: ClassifyRequest) -> list[tuple[str, Claim]]:
    """Return the claims to try, each with its field's name for errors.

    Older clients send a single ``claim``, which is a chain of one.
    """
    if len(request.claims) > MAX_CLAIMS:
        raise too_many_claims(len(request.claims))
    chain = [(f"claims[{index}]", claim) for index, claim in enumerate(request.claims)]
    if request.HasField("claim"):
        if not chain:
            return [("claim", request.claim)]
        if request.claim not in request.claims:
            raise Invalid(Problem("claim", "it is not one of claims", "send claims only"))
    return chain


def _static(request: ClassifyRequest, directory: Directory) -> Cell:
    if request.type == FIRST_CELL:
        cell, key = directory.first, "first"
    elif request.type in {SESSION_PREFIX, CELL_ID}:
        key = request.value
        if not key:
            raise Invalid(Problem("value", "it is empty", "say which cell"))
        if request.type == SESSION_PREFIX:
            cell = directory.by_prefix.get(key)
        else:
            number = cell_id(key)
            cell = None if number is None else directory.by_id.get(number)
    else:
        names = {value.number: value.name for value in ClassifyType.DESCRIPTOR.values}
        name = names.get(request.type, str(request.type))
        hint = "send claims, or the type FIRST_CELL, SESSION_PREFIX or CELL_ID"
        raise Invalid(Problem("type", f"invalid type {name}", hint))
    if cell is None:
        raise NotFound("cell", key[:_MAX_SHOWN])
    return cell


def _answer(cell: Cell, matched: Claim | None = None) -> ClassifyResponse:
    return ClassifyResponse(action=PROXY, proxy={"address": cell.address}, matched_claim=matched)


def _shown(keys: list[ClaimKey]) -> str:
    return ", ".join(map(str, keys))[:_MAX_SHOWN]


def classify_service(live: LiveDirectories) -> ServiceMethods:
    """Return the methods of ``gitlab.cells.topology_service.ClassifyService``."""

    def answer_classify(request: ClassifyRequest) -> Message:
        return classify(request, live.of_this_thread())

    return ServiceMethods(
        DESCRIPTOR.services_by_name["ClassifyService"],
        lookups={"Classify": answer_classify, "GetCells": live.get_cells},
    )
