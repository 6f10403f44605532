"""The secret is a resource of its own, and only the classifier's cluster sends it."""

from __future__ import annotations

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from control_plane.compiler.clusters import compile_cell, compile_classifier
from control_plane.compiler.edge import compile_edge
from control_plane.compiler.edge_secret import compile_edge_secret
from control_plane.compiler.model import ClassifierAddress, ClassifierTLS, TrafficPolicy
from control_plane.names import CLASSIFIER_CLUSTER, EDGE_SECRET_HEADER, EDGE_SECRET_NAME, SDS
from control_plane.routing.rules.parse import parse
from tests.compiler.cells import cell

ADDRESSES = (ClassifierAddress("127.0.0.1", 18001),)
RULES = '{"name": "r", "rules": [{"id": "all", "action": "classify", "classify": {"type": "FIRST_CELL"}}]}'


def test_the_resource_is_what_envoy_calls_a_generic_secret() -> None:
    made = compile_edge_secret("s3cret")
    parsed = secret_pb2.Secret.FromString(made.body)
    assert (made.type_url, made.name, parsed.name) == (SDS, EDGE_SECRET_NAME, EDGE_SECRET_NAME)
    assert parsed.generic_secret.secret.inline_string == "s3cret"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_only_the_classifiers_cluster_names_it(protocol: str) -> None:
    policy = TrafficPolicy(classifiers=ADDRESSES, classifier_protocol=protocol, sends_secret=True)
    resources = compile_edge([cell(1)], parse(RULES), policy, 1)
    naming = [one.name for one in resources if EDGE_SECRET_HEADER.encode() in one.body]
    assert naming == [CLASSIFIER_CLUSTER]
    assert EDGE_SECRET_HEADER.encode() not in compile_cell(cell(1), policy).body


def test_without_it_and_without_tls_the_cluster_is_plain() -> None:
    made = compile_classifier(ADDRESSES, TrafficPolicy())
    assert EDGE_SECRET_HEADER.encode() not in made.body
    assert not cluster_pb2.Cluster.FromString(made.body).HasField("transport_socket")


@pytest.mark.parametrize(("name", "is_ip"), [("c.example", False), ("10.0.0.1", True)])
def test_with_tls_the_cluster_checks_the_name(name: str, *, is_ip: bool) -> None:
    policy = TrafficPolicy(classifier_tls=ClassifierTLS("PEM", name, is_ip))
    made = compile_classifier(ADDRESSES, policy)
    assert cluster_pb2.Cluster.FromString(made.body).HasField("transport_socket")
    assert b"PEM" in made.body
    assert name.encode() in made.body
