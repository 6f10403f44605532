"""What this control plane reports of its own Envoys, for those who wait for the whole fleet."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from control_plane.topology.cells.fleet_reports import MAX_NAMED, FleetReport
from control_plane.xds.fleet.fleet import Fleet


def own_id(grpc_port: int, data_dir: Path) -> str:
    """Return an id of this control plane that is the same after a restart.

    So a control plane that was killed takes its report over when it is back, and nobody waits for
    the one that has died.
    """
    # The hardware address tells machines apart that have the same name.
    where = f"{uuid.getnode()}|{socket.gethostname()}|{grpc_port}|{data_dir.absolute()}"
    return str(uuid.uuid5(uuid.NAMESPACE_OID, where))


def fleet_report(fleet: Fleet, grpc_port: int) -> Callable[[Sequence[FleetReport]], FleetReport]:
    """Return the function that reports what the Envoys of a fleet run now.

    It is given the reports of others, and has the fleet miss no Envoy that is at one of them.
    """
    name = f"{socket.gethostname()}:{grpc_port}"

    def report(others: Sequence[FleetReport]) -> FleetReport:
        for other in others:
            fleet.found_elsewhere(other.found)
        wanted = [node for other in others for node in other.missing]
        publication = fleet.publication
        published = publication.revision
        lagging = fleet.lagging(published)
        connected = fleet.connected_nodes
        return FleetReport(
            name,
            published,
            fleet.acked_revision,
            connected,
            connected - len(lagging),
            lagging[:MAX_NAMED],
            fleet.refusals(published) if lagging else {},
            publication.refusal,
            fleet.missing(),
            fleet.connected_among(wanted),
        )

    return report
