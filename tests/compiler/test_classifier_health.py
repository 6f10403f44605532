"""An Envoy notices by itself which classifiers it can reach, and asks those: the real Envoy does."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from control_plane.compiler.clusters import compile_classifier
from control_plane.compiler.model import ClassifierAddress, TrafficPolicy
from tests.support.conditions import wait_until
from tests.support.ports import unused_port
from tests.support.raw_client import RawClient
from tests.support.system import System


@pytest.mark.parametrize(
    ("host", "is_resolved"), [("10.0.0.1", False), ("::1", False), ("cp.test", True)]
)
def test_a_name_is_resolved_by_envoy(host: str, is_resolved: bool) -> None:
    address = ClassifierAddress(host, 1)
    body = compile_classifier((ClassifierAddress("10.0.0.2", 1), address), TrafficPolicy()).body
    cluster = cluster_pb2.Cluster.FromString(body)
    assert cluster.HasField("cluster_type") is is_resolved
    assert len(cluster.load_assignment.endpoints[0].lb_endpoints) == 2
    assert not ClassifierAddress(path="/run/classifier.sock").is_name


def test_a_classifier_that_is_dead_or_hangs_is_not_asked_while_another_one_answers(
    tmp_path: Path,
) -> None:
    own, dead = unused_port(), unused_port()
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        addresses = tuple(f"127.0.0.1:{port}" for port in (dead, hanging.getsockname()[1], own))
        settings = {"classifier_port": own, "classifier_addresses": addresses}
        with (
            System(tmp_path, 1, concurrency=1, classifier_timeout_s=0.25, **settings) as system,
            RawClient(system.edge_port) as client,
        ):
            system.add_cells()
            system.use_ruleset("generic")
            names = itertools.count()

            def is_answered() -> bool:
                return client.ask(b"/t/unknown-%d" % next(names))[0] == 404

            wait_until(lambda: all(is_answered() for _ in range(20)))
            stats = system.stats(r"cluster\.cellway_classifier\.membership_.*")
            assert stats["cluster.cellway_classifier.membership_healthy"] == 1
            assert stats["cluster.cellway_classifier.membership_total"] == 3
