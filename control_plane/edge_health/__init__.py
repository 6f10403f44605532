"""The reports of edges: which endpoints they hold healthy. This room knows clusters, and no cells.

`message` is what comes on a stream, `report` is what it says of one edge, `book` counts all edges,
and `service` is the gRPC service over the three.
"""
