"""Threads may compile what is authored with envoy-data-plane at the same time, from the first use on."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.compiler.listener import compile_listener
from control_plane.compiler.model import TrafficPolicy

sys.setswitchinterval(1e-6)
together = threading.Barrier(3)
def bootstrap():
    together.wait()
    compile_bootstrap(FleetMember("node", "edge", ("127.0.0.1", 1), "/a"))
def listener():
    together.wait()
    compile_listener(TrafficPolicy())
threads = [threading.Thread(target=build) for build in (bootstrap, bootstrap, listener)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_bootstraps_and_a_listener_are_compiled_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
