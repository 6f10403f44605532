"""Tests."""

import control_plane  # noqa: F401 - before gRPC: it turns off fork handlers that can kill a child
