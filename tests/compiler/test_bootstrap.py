"""The bootstrap of a fleet member, as Envoy's own messages read it."""

from __future__ import annotations

import json
import re

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401 - in an Any
from google.protobuf import json_format

from control_plane.compiler.bootstrap import (
    KEPT_CELL_STATS,
    FleetMember,
    MemberTls,
    compile_bootstrap,
)
from control_plane.names import XDS_CLUSTER


def compiled(
    host: str = "xds.example", *, delta: bool = True, tls: MemberTls | None = None
) -> bootstrap_pb2.Bootstrap:
    text = compile_bootstrap(FleetMember("n", "g", (host, 18000), "/a", delta, tls))
    return json_format.Parse(text, bootstrap_pb2.Bootstrap())


def xds_cluster(document: bootstrap_pb2.Bootstrap) -> cluster_pb2.Cluster:
    (cluster,) = document.static_resources.clusters
    assert cluster.name == XDS_CLUSTER
    return cluster


def test_the_bootstrap_keeps_stats_few_and_the_admin_to_its_user() -> None:
    member = FleetMember("n", "g", ("xds.example", 18000), "/run/a.sock")
    document = json.loads(compile_bootstrap(member))
    assert document["admin"]["address"] == {"pipe": {"path": "/run/a.sock", "mode": 0o600}}
    assert document["node"] == {"cluster": "g", "id": "n"}
    assert document["statsConfig"]["statsMatcher"]["inclusionList"]["patterns"]


@pytest.mark.parametrize(("delta", "api"), [(True, "DELTA_GRPC"), (False, "GRPC")])
def test_the_stream_speaks_the_variant_that_is_wanted(delta: bool, api: str) -> None:
    ads = compiled(delta=delta).dynamic_resources.ads_config
    assert config_source_pb2.ApiConfigSource.ApiType.Name(ads.api_type) == api
    assert [one.envoy_grpc.cluster_name for one in ads.grpc_services] == [XDS_CLUSTER]


@pytest.mark.parametrize(
    ("host", "kind"),
    [("xds.example", "STRICT_DNS"), ("10.0.0.1", "STATIC"), ("::1", "STATIC"), ("1.2", "STRICT_DNS")],
)  # fmt: skip
def test_an_address_of_the_control_plane_needs_no_dns(host: str, kind: str) -> None:
    cluster = xds_cluster(compiled(host))
    assert cluster_pb2.Cluster.DiscoveryType.Name(cluster.type) == kind


def test_a_member_with_tls_shows_its_certificate_and_checks_the_name() -> None:
    files = MemberTls("/c.pem", "/k.pem", "/ca.pem", "plane.example")
    context = tls_pb2.UpstreamTlsContext()
    assert xds_cluster(compiled(tls=files)).transport_socket.typed_config.Unpack(context)
    (certificate,) = context.common_tls_context.tls_certificates
    assert certificate.certificate_chain.filename == "/c.pem"
    assert certificate.private_key.filename == "/k.pem"
    trusted = context.common_tls_context.validation_context
    assert trusted.trusted_ca.filename == "/ca.pem"
    assert [one.matcher.exact for one in trusted.match_typed_subject_alt_names] == ["plane.example"]
    assert context.sni == "plane.example"
    assert not xds_cluster(compiled()).HasField("transport_socket")


@pytest.mark.parametrize(
    ("stat", "kept"),
    [
        ("cluster.cell-1.upstream_rq_total", True),
        ("cluster.cell-1.endpoint.10.0.0.1:443.rq_error", True),
        ("cluster.cell-1.membership_healthy", True),
        ("cluster.cell-1.upstream_rq_200", False),
        ("cluster.cell-1.upstream_rq_time", False),
        ("cluster.cell-1.endpoint.10.0.0.1:443.cx_total", False),
    ],
)
def test_of_a_cell_few_series_are_kept(stat: str, kept: bool) -> None:
    assert bool(re.fullmatch(KEPT_CELL_STATS, stat)) is kept
