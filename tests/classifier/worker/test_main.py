"""A worker is small and quick to start, so that one that died is soon back."""

from __future__ import annotations

import subprocess
import sys

from control_plane.classifier.worker.directory import WORKER_MODULE

HEAVY = {"control_plane.server", "control_plane.compiler", "control_plane.xds", "control_plane.api"}
"""Imported by the server: with them, a worker took twice the memory and four times as long."""
FOREIGN = {"grpc", "starlette", "fastapi", "pydantic", "uvicorn", "envoy", "envoy_data_plane"}


def test_a_worker_brings_in_nothing_of_the_server() -> None:
    program = f"import sys, {WORKER_MODULE}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert {"control_plane.classifier.http", "sqlalchemy"} < modules
    assert modules & (HEAVY | FOREIGN) == set()
