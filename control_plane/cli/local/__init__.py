"""Runs on this machine what the other commands call over the network.

Only these modules reach the server, the topology, the compiler and the edge's agent. Importing
those takes seconds, so a command imports its module of this folder when it runs (see
`control_plane.cli`).
"""
