"""Which endpoints the edges hold healthy, as they report it. Knows cluster names, and no cells.

`message` is what comes on a stream, `report` is what it says of one edge, `book` counts all edges,
and `service` is the gRPC service over the three.
"""
