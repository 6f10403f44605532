"""Messages of the first ClaimService, made by their field numbers alone."""

from __future__ import annotations

from tests.grpc_api.wire_client import num, sub

CREATE, GET = "ClaimService/CreateClaim", "ClaimService/GetClaim"
CELL_2 = {"metadata": (("x-cellway-cell-id", "2"),)}


def details(route: str, parent: int = 1, bucket: int = 1, table: int = 1) -> bytes:
    """ClaimDetails: claim=1 {bucket=1, value=2}, parent=2 {model=1, id=2}, owner=3 {table=1, id=2}."""
    claim = num(1, bucket) + sub(2, route)
    return sub(1, claim) + sub(2, num(1, parent) + num(2, 8)) + sub(3, num(1, table) + num(2, 9))
