"""Benchmarks: each one command, each a ratio against a baseline of the same run."""

import control_plane  # noqa: F401 - before gRPC: it turns off fork handlers that can kill a child
