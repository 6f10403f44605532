"""The values that the topology stores and hands out. Pure.

This file is the sub-room's face: one import statement brings any of them.
"""

from control_plane.topology.values.cell import (
    MAX_CELL_ID,
    TRANSITIONS,
    Cell,
    CellSpec,
    CellState,
    CellTLS,
    SequenceRange,
)
from control_plane.topology.values.change import Change, Ruleset, TopologySnapshot, Written
from control_plane.topology.values.claim import (
    Claim,
    ClaimSpec,
    Lease,
    Record,
    RecordSpec,
    RecordStatus,
)
from control_plane.topology.values.claim_key import (
    MAX_ID,
    MAX_SPELLING,
    SHARDS,
    ClaimKey,
    KeyPair,
    NormalisedKeys,
    is_storable,
    normalise,
    normalise_spelled,
    normalised_or_none,
)
from control_plane.topology.values.endpoint import (
    Endpoint,
    ServerName,
    address_problem,
    host_problem,
)
from control_plane.topology.values.endpoint_policy import EndpointPolicy
from control_plane.topology.values.errors import (
    AlreadyExists,
    Contention,
    DatabaseFailed,
    Gone,
    Invalid,
    KeyTaken,
    LeaseSettled,
    Locked,
    NotFound,
    Problem,
    Refused,
    StaleVersion,
    TopologyError,
    Unavailable,
)
from control_plane.topology.values.lease import LeaseBacklog, OpenLease
from control_plane.topology.values.sequence import HighWaterMark, SequenceUse

__all__ = [
    "MAX_CELL_ID",
    "MAX_ID",
    "MAX_SPELLING",
    "SHARDS",
    "TRANSITIONS",
    "AlreadyExists",
    "Cell",
    "CellSpec",
    "CellState",
    "CellTLS",
    "Change",
    "Claim",
    "ClaimKey",
    "ClaimSpec",
    "Contention",
    "DatabaseFailed",
    "Endpoint",
    "EndpointPolicy",
    "Gone",
    "HighWaterMark",
    "Invalid",
    "KeyPair",
    "KeyTaken",
    "Lease",
    "LeaseBacklog",
    "LeaseSettled",
    "Locked",
    "NormalisedKeys",
    "NotFound",
    "OpenLease",
    "Problem",
    "Record",
    "RecordSpec",
    "RecordStatus",
    "Refused",
    "Ruleset",
    "SequenceRange",
    "SequenceUse",
    "ServerName",
    "StaleVersion",
    "TopologyError",
    "TopologySnapshot",
    "Unavailable",
    "Written",
    "address_problem",
    "host_problem",
    "is_storable",
    "normalise",
    "normalise_spelled",
    "normalised_or_none",
]
