"""The source of truth: cells, claims and rulesets, and the feed of every change to them.

This file is the room's face: other rooms import `Topology` and what its methods take and return
from here. Modules inside the room never do.

A name is imported when it is first used: who needs only `control_plane.topology.values` does not
load the database's drivers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control_plane.topology.changes import Archive, Pruned
    from control_plane.topology.claims.bulk import Imported
    from control_plane.topology.claims.bulk_lines import Reject
    from control_plane.topology.claims.leases import Outcome
    from control_plane.topology.claims.move import Subject
    from control_plane.topology.operations import Operation, OperationState, Progress
    from control_plane.topology.service import MigrationsPending, Topology
    from control_plane.topology.tokens import Scope

__all__ = [
    "Archive",
    "Imported",
    "MigrationsPending",
    "Operation",
    "OperationState",
    "Outcome",
    "Progress",
    "Pruned",
    "Reject",
    "Scope",
    "Subject",
    "Topology",
]

_MODULES = {
    "Archive": "changes",
    "Imported": "claims.bulk",
    "MigrationsPending": "service",
    "Operation": "operations",
    "OperationState": "operations",
    "Outcome": "claims.leases",
    "Progress": "operations",
    "Pruned": "changes",
    "Reject": "claims.bulk_lines",
    "Scope": "tokens",
    "Subject": "claims.move",
    "Topology": "service",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
