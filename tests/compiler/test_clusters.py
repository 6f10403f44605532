"""Clusters: what the API takes, the real Envoy takes; and what it is told of names and probes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.clusters.common.dns.v3 import dns_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.api.schemas.cells import CellBody
from control_plane.compiler.clusters import compile_cell
from control_plane.compiler.model import TrafficPolicy
from control_plane.topology.values.cell import Cell, CellSpec, CellState, CellTLS
from control_plane.topology.values.endpoint import Endpoint
from control_plane.topology.values.errors import Invalid
from tests.support.certificates import Authority
from tests.support.envoy_process import ENVOY_BINARY

EXAMPLES = 2000
ODD_HOSTS = (
    *("localhost", "localhost.", "LOCALHOST", "a.b.c", "a.b.c.", ".", "..", ".a", "a..b", "a.", "_a.b"),
    *("a_b", "_", "-a", "a-", "a--b", "xn--a", "*", "*.a", "a b", "a/b", "a\x00b", "é.test", "a%b"),
    *("127.0.0.1", "127.1", "127", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "0x7f.1", "0x", "a.1"),
    *("0x7f000001", "a.0x1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "1.2.3.4.", "1e3", "\uff11.2.3.4"),
    *("[::1]", "[::]", "[fe80::1]", "[fe80::1%eth0]", "[fe80::1%251]", "[::ffff:1.2.3.4]", "[::1.2.3.4]"),
    *("[::ffff:0:1.2.3.4]", "[2001:DB8::1]", "[1:2:3:4:5:6:7:8]", "[1::2::3]", "[:::]", "[ff02::1]"),
    *("::1", "fe80::1%eth0", "[", "]", "[]", "[127.0.0.1]", "[a]", "[::1]x", "[::1", "::1]", ""),
    *("a" * 63, "a" * 64, "a" * 64 + ".b", ".".join(["a" * 63] * 4), ".".join(["a" * 61] * 4), "a." * 126),
    "gitlab-webservice-default.gitlab.svc.cluster.local",
)  # fmt: skip
SIGNS = "ab-._:%[]0x1*é\x00 /@\\#?\r\n"
hosts = st.sampled_from(ODD_HOSTS) | st.text(SIGNS, max_size=12)
ports = st.sampled_from(
    ["", ":", ":0", ":1", ":443", ":65535", ":65536", ":00080", ":-1", ":+1", ":1_0", ":٣", ":1:2"]
)
addresses = st.builds(str.__add__, hosts, ports)
paths = st.sampled_from(
    [
        *("/", "/a", "/a?b#c", "/%00", "a", "", "//", "/a b", "/\x7f", "/é", "/\r\nx: y"),
        "/" + "a" * 300,
    ]
) | st.text(SIGNS, max_size=6).map("/".__add__)
files = st.none() | st.just("TRUST") | st.text(SIGNS, max_size=5)
names = st.sampled_from(["cell-1", "a" * 63]) | st.text(SIGNS, max_size=4)
servers = st.fixed_dictionaries({}, optional={"server_name": hosts | st.none(), "ca_file": files})
odd = st.one_of(
    st.fixed_dictionaries({"name": names}),
    st.fixed_dictionaries({"address": addresses}, optional={"tls": st.just({})}),
    st.fixed_dictionaries({"endpoints": st.lists(addresses, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"endpoints": st.lists(hosts.map("{}:443".format), min_size=1)}),
    st.fixed_dictionaries({"health_check_path": paths}),
    st.fixed_dictionaries({"tls": servers}),
)
usual = st.fixed_dictionaries(
    {
        "name": st.just("cell-1"),
        "address": st.sampled_from(["a.test", "a.test:8443", "[::1]:8443", "10.0.0.1"]),
        "endpoints": st.sampled_from(
            [["10.0.0.1:1"], ["[::1]:1", "10.0.0.1:1"], ["a.test:1"], ["a.b:1", "a.b:1"]]
        ),
        "health_check_path": st.sampled_from([None, "/ok"]),
        "tls": st.sampled_from([None, {}, {"server_name": "b.test"}]),
    }
)
bodies = st.builds(lambda body, one, two: body | one | two, usual, odd, odd | st.just({}))


def accepted(body: dict[str, Any]) -> Cell | None:
    """The cell that the API makes of a body; None if it refuses it."""
    try:
        spec = CellBody.model_validate(body).spec()
        spec.check()
    except (Invalid, ValidationError):
        return None
    return cell_of(spec)


def cell_of(spec: CellSpec) -> Cell:
    return Cell(
        1, spec.name, spec.address, spec.endpoints, spec.tls, spec.health_check_path,
        spec.session_prefix, (), {}, CellState.ACTIVE, 100, True, 1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with an authority."""
    file = tmp_path_factory.mktemp("trust") / "ca.pem"
    file.write_bytes(Authority().pem)
    return str(file)


def test_envoy_takes_every_cell_that_the_api_takes(trust: str, tmp_path: Path) -> None:
    cells: dict[bytes, Cell] = {}

    @given(bodies)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def collect(body: dict[str, Any]) -> None:
        cell = accepted(body)
        if cell is None:
            return
        if cell.tls is not None:
            # A file that is not there is the one thing that Envoy may complain of.
            cell = replace(cell, tls=replace(cell.tls, ca_file=trust))
        cells[compile_cell(cell, TrafficPolicy()).body] = cell

    collect()
    assert len(cells) > 100, "hardly anything was accepted"
    said = complaint(list(cells), tmp_path)
    if said:
        pytest.fail(f"{culprit(cells, tmp_path)}: {said}")


def test_envoy_takes_a_cell_whose_endpoints_are_all_denied(tmp_path: Path) -> None:
    spec = CellSpec("cell-1", "a.test", (), health_check_path="/ok")
    cells = [cell_of(spec), cell_of(replace(spec, health_check_path=None))]
    assert complaint([compile_cell(cell, TrafficPolicy()).body for cell in cells], tmp_path) == ""


def culprit(cells: dict[bytes, Cell], directory: Path) -> Cell:
    """One of the cells that Envoy does not take, found by halving."""
    left = list(cells)
    while len(left) > 1:
        half = left[: len(left) // 2]
        left = half if complaint(half, directory) else left[len(half) :]
    return cells[left[0]]


def complaint(bodies: Sequence[bytes], directory: Path) -> str:
    """What Envoy says of clusters; empty: nothing."""
    bootstrap = bootstrap_pb2.Bootstrap()
    for number, body in enumerate(bodies):
        cluster = bootstrap.static_resources.clusters.add()
        cluster.MergeFromString(body)
        cluster.name = cluster.load_assignment.cluster_name = f"{cluster.name}:{number}"
    file = directory / "clusters.pb"
    file.write_bytes(bootstrap.SerializeToString())
    command = [str(ENVOY_BINARY), "--mode", "validate", "-c", str(file), "-l", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return (done.stderr + done.stdout)[-2000:] if done.returncode else ""


def compiled(**more: Any) -> cluster_pb2.Cluster:
    endpoints = tuple(Endpoint.parse(text) for text in more.pop("endpoints", ("10.0.0.1:443",)))
    spec = CellSpec("cell-1", more.pop("address", "a.test"), endpoints, **more)
    return cluster_pb2.Cluster.FromString(compile_cell(cell_of(spec), TrafficPolicy()).body)


@pytest.mark.parametrize(
    ("address", "server_name", "sni", "name", "kind"),
    [
        ("a.test", None, "a.test", "a.test", "DNS"),
        ("A.Test.:8443", None, "a.test", "a.test", "DNS"),
        ("a.test", "B.test.", "b.test", "b.test", "DNS"),
        ("10.0.0.1:8443", None, "", "10.0.0.1", "IP_ADDRESS"),
        ("[::1]:8443", None, "", "::1", "IP_ADDRESS"),
        ("[::1]", None, "", "::1", "IP_ADDRESS"),
        ("a.test", "2001:DB8:0::1", "", "2001:db8::1", "IP_ADDRESS"),
        ("10.0.0.1", "b.test", "b.test", "b.test", "DNS"),
    ],
)
def test_an_ip_address_is_never_sent_as_sni(
    address: str, server_name: str | None, sni: str, name: str, kind: str
) -> None:
    cluster = compiled(address=address, tls=CellTLS(server_name=server_name))
    context = tls_pb2.UpstreamTlsContext()
    cluster.transport_socket.typed_config.Unpack(context)
    (san,) = context.common_tls_context.validation_context.match_typed_subject_alt_names
    found = common_pb2.SubjectAltNameMatcher.SanType.Name(san.san_type)
    assert (context.sni, san.matcher.exact, found) == (sni, name, kind)


@pytest.mark.parametrize("host", ["10.0.0.1", "a.test"])
@pytest.mark.parametrize("path", [None, "/ok"])
def test_what_is_probed_and_how_often(host: str, path: str | None) -> None:
    cluster = compiled(endpoints=(f"{host}:1",), health_check_path=path)
    assert cluster.ignore_health_on_host_removal
    assert cluster.common_lb_config.HasField("update_merge_window")
    assert cluster.common_lb_config.update_merge_window.ToMilliseconds() == 0
    forbids = path is not None or host == "10.0.0.1"
    assert cluster.common_lb_config.healthy_panic_threshold.value == (0 if forbids else 1)
    if path is None and host == "10.0.0.1":
        assert not cluster.health_checks
        return
    (check,) = cluster.health_checks
    assert check.HasField("http_health_check") is (path is not None)
    assert check.no_traffic_interval.ToMilliseconds() == 1000
    assert check.unhealthy_interval.ToMilliseconds() == 1000
    assert check.no_traffic_healthy_interval == check.interval


def test_names_are_asked_of_the_servers_that_are_set_and_given_up_in_time() -> None:
    cell = cell_of(CellSpec("cell-1", "a.test", (Endpoint("a.test", 1),)))
    policy = TrafficPolicy(dns_resolvers=(("127.0.0.1", 5353), ("::1", 53)))
    cluster = cluster_pb2.Cluster.FromString(compile_cell(cell, policy).body)
    dns = dns_cluster_pb2.DnsCluster()
    cluster.cluster_type.typed_config.Unpack(dns)
    resolver = cares_dns_resolver_pb2.CaresDnsResolverConfig()
    dns.typed_dns_resolver_config.typed_config.Unpack(resolver)
    servers = [(s.socket_address.address, s.socket_address.port_value) for s in resolver.resolvers]
    assert servers == [("127.0.0.1", 5353), ("::1", 53)]
    assert (resolver.query_timeout_seconds.value, resolver.query_tries.value) == (1, 2)


@pytest.mark.parametrize(("ipv6", "families"), [(True, "ALL"), (False, "V4_ONLY")])
def test_an_envoy_whose_machine_has_no_ipv6_asks_for_no_such_address(
    ipv6: bool, families: str
) -> None:
    """It would be ended by one: Envoy 1.40 aborts."""
    cell = cell_of(CellSpec("cell-1", "a.test", (Endpoint("a.test", 1),)))
    body = compile_cell(cell, TrafficPolicy(ipv6=ipv6)).body
    dns = dns_cluster_pb2.DnsCluster()
    cluster_pb2.Cluster.FromString(body).cluster_type.typed_config.Unpack(dns)
    assert dns_pb2.DnsLookupFamily.Name(dns.dns_lookup_family) == families
