"""A fleet member's bootstrap: delta or state of the world, in plain text or with TLS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.local.bootstrap import bootstrap

FILES = (Path("/c.pem"), Path("/k.pem"), Path("/ca.pem"))


def document(**options: Any) -> Any:
    defaults: dict[str, Any] = {
        "node_id": "n",
        "group": "g",
        "xds": ("cp.example", 18000),
        "admin": "/run/a.sock",
        "stats_port": None,
        "module": "",
        "delta": True,
        "tls_files": None,
        "tls_server_name": "cp.example",
    }
    return json.loads(bootstrap(**defaults | options))


@pytest.mark.parametrize(("delta", "kind"), [(True, "DELTA_GRPC"), (False, "GRPC")])
def test_the_protocol_is_that_of_the_options(delta: bool, kind: str) -> None:
    assert document(delta=delta)["dynamicResources"]["adsConfig"]["apiType"] == kind


def test_only_with_files_it_speaks_tls() -> None:
    (plain,) = document()["staticResources"]["clusters"]
    (secured,) = document(tls_files=FILES)["staticResources"]["clusters"]
    assert "transportSocket" not in plain
    text = json.dumps(secured["transportSocket"])
    assert [str(file) in text for file in FILES] == [True] * 3


def test_only_a_member_with_the_module_says_so() -> None:
    assert "metadata" not in document()["node"]
    told = document(module="/opt/cellway/libcellway_edge_v1.so")["node"]["metadata"]
    assert told == {"cellway": {"edge_module": "v1", "file": "/opt/cellway/libcellway_edge_v1.so"}}
