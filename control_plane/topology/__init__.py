"""The source of truth: cells, claims and rulesets, and the feed of every change to them.

This file is the room's face: other rooms import `Topology` and what its methods take and return
from here. Modules inside the room never do.
"""

from control_plane.topology.cells.sequence_ranges import HighWaterMark, SequenceUse
from control_plane.topology.changes import Archive, Pruned
from control_plane.topology.claims.bulk import Imported
from control_plane.topology.claims.bulk_lines import Reject
from control_plane.topology.claims.leases import Outcome
from control_plane.topology.claims.move import Subject
from control_plane.topology.claims.open_leases import LeaseBacklog
from control_plane.topology.operations import Operation, OperationState, Progress
from control_plane.topology.service import MigrationsPending, Topology
from control_plane.topology.tokens import Scope

__all__ = [
    "Archive",
    "HighWaterMark",
    "Imported",
    "LeaseBacklog",
    "MigrationsPending",
    "Operation",
    "OperationState",
    "Outcome",
    "Progress",
    "Pruned",
    "Reject",
    "Scope",
    "SequenceUse",
    "Subject",
    "Topology",
]
