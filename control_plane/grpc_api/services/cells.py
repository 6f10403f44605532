"""CellService and SequenceService: the cells and their id ranges."""

from __future__ import annotations

from google.protobuf.message import Message

from control_plane.grpc_api.directory import LiveDirectories, cell_info
from control_plane.grpc_api.generated import cell_service_pb2, sequence_service_pb2
from control_plane.grpc_api.generated.cell_service_pb2 import GetCellRequest, GetCellResponse
from control_plane.grpc_api.server.methods import ServiceMethods
from control_plane.topology.values.errors import NotFound


def cell_service(live: LiveDirectories) -> ServiceMethods:
    """Return the methods of ``gitlab.cells.topology_service.CellService``."""

    def get_cell(request: GetCellRequest) -> Message:
        cell = live.of_this_thread().current().by_id.get(request.cell_id)
        if cell is None:
            raise NotFound("cell", str(request.cell_id))
        return GetCellResponse(cell_info=cell_info(cell))

    return ServiceMethods(
        cell_service_pb2.DESCRIPTOR.services_by_name["CellService"], lookups={"GetCell": get_cell}
    )


def sequence_service(live: LiveDirectories) -> ServiceMethods:
    """Return the methods of ``gitlab.cells.topology_service.SequenceService``.

    The info of each cell holds its ranges.
    """

    return ServiceMethods(
        sequence_service_pb2.DESCRIPTOR.services_by_name["SequenceService"],
        lookups={"GetCells": live.get_cells},
    )
