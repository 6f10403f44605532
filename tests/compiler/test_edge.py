"""All resources of an edge: same input, same bytes; and updates that add up to the whole."""

from __future__ import annotations

from pathlib import Path

from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy_data_plane.envoy.config.cluster import v3 as cluster

from control_plane.compiler.edge import EdgeCompiler, compile_edge
from control_plane.compiler.model import ClassifierAddress, EnvoyResource, TrafficPolicy
from control_plane.names import CDS, LDS, RDS
from control_plane.routing.rules.parse import parse
from control_plane.topology.values.cell import Cell, CellState, CellTLS
from control_plane.topology.values.endpoint import Endpoint
from tests.compiler.cells import cell

RULESETS = Path(__file__).parents[2] / "rulesets"
POLICY = TrafficPolicy(
    classifiers=(ClassifierAddress("127.0.0.1", 18001),), debug_networks=("127.0.0.0/8",)
)
GITLAB = parse((RULESETS / "gitlab.json").read_text())


def compiled(*cells: Cell, revision: int = 1) -> dict[tuple[str, str], bytes]:
    resources = compile_edge(cells or (cell(1), cell(2)), GITLAB, POLICY, revision)
    return {(one.type_url, one.name): one.body for one in resources}


def test_same_input_same_bytes_whatever_the_order() -> None:
    assert compiled(cell(1), cell(2), cell(3)) == compiled(cell(3), cell(1), cell(2))


def test_a_new_revision_changes_the_debug_filter_only() -> None:
    before, after = compiled(revision=1), compiled(revision=2)
    assert [key[1] for key in before if before[key] != after[key]] == ["cellway.debug"]


def test_a_changed_cell_changes_its_own_resources_only() -> None:
    before = compiled()
    after = compiled(cell(1), cell(2, endpoints=(Endpoint("10.0.0.2", 443),)))
    assert [key for key in before if before[key] != after[key]] == [(CDS, "cell:cell-2")]


def test_compiling_again_gives_what_compiling_anew_gives() -> None:
    compiler = EdgeCompiler(POLICY)
    history = [
        (cell(1), cell(2)),
        (cell(1), cell(2, healthy=False), cell(3)),
        (cell(3, weight=5), cell(1)),
        (cell(1), cell(2)),
    ]
    for revision, cells in enumerate(history):
        assert compiler.compile(cells, GITLAB, revision) == compile_edge(
            cells, GITLAB, POLICY, revision
        )


def test_the_updates_of_a_history_add_up_to_what_compiling_anew_gives() -> None:
    compiler = EdgeCompiler(POLICY)
    dns = (Endpoint("dns.example", 443),)
    history = [
        (cell(1), cell(2)),
        (cell(1), cell(2)),
        (cell(1), cell(2, endpoints=dns), cell(3)),
        (cell(3, weight=5), cell(1)),
        (),
        (cell(1), cell(2, healthy=False)),
    ]
    has: dict[tuple[str, str], EnvoyResource] = {}
    for revision, cells in enumerate(history):
        update = compiler.update(cells, GITLAB, revision)
        assert not {(one.type_url, one.name) for one in update.put} & set(update.dropped)
        for key in update.dropped:
            del has[key]
        has |= {(one.type_url, one.name): one for one in update.put}
        anew = compile_edge(cells, GITLAB, POLICY, revision)
        assert has == {(one.type_url, one.name): one for one in anew}
    same = compiler.update(history[-1], GITLAB, len(history))
    assert [one.name for one in same.put] == ["cellway.debug"]
    assert same.dropped == ()


def test_another_library_reads_the_same() -> None:
    tls = CellTLS("cell-2.internal", "/ca.pem")
    made = compiled(
        cell(1, health_check_path="/ok"), cell(2, tls=tls, endpoints=(Endpoint("dns.example", 8),))
    )
    one = cluster.Cluster.parse(made[CDS, "cell:cell-1"])
    assert one.type is cluster.ClusterDiscoveryType.STATIC
    assert one.health_checks[0].http_health_check.path == "/ok"
    assert one.load_assignment is not None
    address = one.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (address.address, address.port_value) == ("10.0.0.1", 443)
    two = cluster.Cluster.parse(made[CDS, "cell:cell-2"])
    assert two.cluster_type is not None
    assert two.cluster_type.name == "envoy.clusters.dns"
    assert two.transport_socket.typed_config.type_url.endswith("UpstreamTlsContext")


def test_the_listener_asks_for_the_routes_that_there_are() -> None:
    made = compiled()
    (routes,) = (name for url, name in made if url == RDS)
    listener = listener_pb2.Listener.FromString(made[LDS, "cellway:edge"])
    assert routes.encode() in listener.default_filter_chain.filters[0].typed_config.value
    table = route_pb2.RouteConfiguration.FromString(made[RDS, routes])
    assert table.virtual_hosts[0].domains == ["*"]


def test_a_dead_cell_does_not_change_the_listener() -> None:
    before, after = compiled(), compiled(cell(1), cell(2, healthy=False))
    assert before[LDS, "cellway:edge"] == after[LDS, "cellway:edge"]
    assert {key[1] for key in before} == {key[1] for key in after}


def test_a_retired_cell_is_as_if_it_were_not_there() -> None:
    assert compiled(cell(1), cell(2, state=CellState.RETIRED)) == compiled(cell(1))


def test_a_cell_that_retires_is_dropped_from_the_fleet() -> None:
    compiler = EdgeCompiler(POLICY)
    compiler.update((cell(1), cell(2)), GITLAB, 1)
    update = compiler.update((cell(1), cell(2, state=CellState.RETIRED)), GITLAB, 2)
    assert update.dropped == ((CDS, "cell:cell-2"),)
    assert RDS in {one.type_url for one in update.put}
