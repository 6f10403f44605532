"""What must be spelled alike in Python, in Envoy's own types and in the scripts that Envoy runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.service.runtime.v3 import rtds_pb2

from control_plane import names

LUA = Path(__file__).parents[1] / "envoy"
MESSAGES = {
    names.CDS: cluster_pb2.Cluster,
    names.EDS: endpoint_pb2.ClusterLoadAssignment,
    names.LDS: listener_pb2.Listener,
    names.RDS: route_pb2.RouteConfiguration,
    names.ECDS: extension_pb2.TypedExtensionConfig,
    names.SDS: secret_pb2.Secret,
    names.RTDS: rtds_pb2.Runtime,
}
HEADERS = {value for name, value in vars(names).items() if name.endswith("_HEADER")}


def test_type_urls_are_those_of_the_messages() -> None:
    assert {url: names.TYPE_URL + one.DESCRIPTOR.full_name for url, one in MESSAGES.items()} == {
        url: url for url in MESSAGES
    }
    services = external_auth_pb2.DESCRIPTOR.services_by_name
    assert services["Authorization"].full_name == names.AUTHORIZATION_SERVICE


def test_envoys_scripts_use_only_headers_that_are_named_here() -> None:
    scripts = "\n".join(file.read_text() for file in LUA.rglob("*.lua"))
    used = set(re.findall(r'"(x-cellway-[a-z-]*)"', scripts)) - {names.INTERNAL_PREFIX}
    assert {names.CELL_HEADER, names.KNOWN_HEADER} < used <= HEADERS


def test_whatever_is_ours_is_recognised_by_its_prefix() -> None:
    internal = HEADERS - {names.AUTHZ_FAILED_HEADER}
    assert all(header.startswith(names.INTERNAL_PREFIX) for header in internal)
    assert names.CLASSIFIER_CLUSTER.startswith(names.OWN_CLUSTERS)
    assert names.XDS_CLUSTER.startswith(names.OWN_CLUSTERS)
    assert not names.cell_cluster("a").startswith(names.OWN_CLUSTERS)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("12", 12),
        ("9" * 19, 10**19 - 1),
        ("1" * 20, None),
        ("0", None),
        ("012", None),
        ("", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("\u0661", None),
        ("\u00b2", None),
    ],
)
def test_a_cell_id_has_one_form_in_text(text: str, number: int | None) -> None:
    assert names.cell_id(text) == number
