"""The compiler: same input, same bytes; and what it emits reads back through another library."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy_data_plane.envoy.config.cluster import v3 as cluster
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.compiler.edge import EdgeCompiler, compile_edge
from control_plane.compiler.model import ClassifierAddress, EnvoyResource, TrafficPolicy
from control_plane.compiler.native.analyse import AskClassifier, NativeRule, analyse
from control_plane.compiler.native.regex_rewrite import anchored, without
from control_plane.names import CDS, LDS, RDS
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex
from control_plane.topology.values.cell import Cell, CellState, CellTLS
from control_plane.topology.values.endpoint import Endpoint

RULESETS = Path(__file__).parents[2] / "rulesets"
POLICY = TrafficPolicy(
    classifiers=(ClassifierAddress("127.0.0.1", 18001),), debug_networks=("127.0.0.0/8",)
)
GITLAB = parse((RULESETS / "gitlab.json").read_text())


def cell(number: int, **more: object) -> Cell:
    made = Cell(
        number, f"cell-{number}", f"cell-{number}.example.com", (Endpoint("10.0.0.1", 443),), None,
        None, f"cell-{number}", (), {}, CellState.ACTIVE, 100, True, 1,
    )  # fmt: skip
    return replace(made, **more)


def compiled(*cells: Cell, revision: int = 1) -> dict[tuple[str, str], bytes]:
    made = compile_edge(cells or (cell(1), cell(2)), GITLAB, POLICY, revision)
    return {(one.type_url, one.name): one.body for one in made}


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


def test_the_tier_of_gitlabs_rules() -> None:
    tiers = {rule.id: isinstance(analyse(rule), NativeRule) for rule in GITLAB.rules}
    assert [rule for rule, native in tiers.items() if native] == [
        "force_cell", "session", "anywhere",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "match",
    [
        {"type": "cookie", "name": "session", "regexValue": "^(?<p>cell-1)$"},
        {"type": "cookie", "name": "^session$", "regexValue": "^(?<p>.*)$"},
        {"type": "cookie", "name": "^session$", "regexValue": "^(?<p>[^-]*)$"},
        {"type": "header", "name": "x-.*", "regexValue": "^(?<p>.*)$"},
        {"type": "path", "regexValue": "^/(?<p>[^/]*)"},
        {"type": "host", "regexValue": "^(?<p>[a-z]*)"},
    ],
)
def test_what_can_not_be_exact_is_left_to_the_classifier(match: dict[str, str]) -> None:
    rule = parse(
        json.dumps(
            [{"id": "r", "match": match, "action": "classify",
              "classify": {"type": "SESSION_PREFIX", "value": "${p}"}}]
        )
    ).rules[0]  # fmt: skip
    assert isinstance(analyse(rule), AskClassifier)


@pytest.mark.parametrize(
    ("pattern", "rewritten"),
    [
        ("^/a$", r"^/a(?:\?|$)"),
        ("^/[^/]+/x", "^/[^?/]+/x"),
        ("a.b", r"a[^?\n]b"),
        (r"\d+", r"\d+"),
        ("^(?:a|b$)", r"^(?:a|b(?:\?|$))"),
        ("a$b", None),
        ("(?:a$)b", None),
        ("(?s)a", None),
        (r"\S", None),
        (r"\?", None),
        ("[a?]", None),
        ("[!-~]", None),
    ],
)
def test_path_regexes_are_rewritten_exactly_or_not_at_all(
    pattern: str, rewritten: str | None
) -> None:
    assert without(pattern, "?", r"(?:\?|$)", widen=True) == rewritten


@pytest.mark.parametrize(
    ("pattern", "inner"),
    [("^a$", ("a", True, True)), ("a", ("a", False, False)), ("^a|b$", None), ("a^b", None),
     ("(?i)^a", ("(?i:a)", True, False))],
)  # fmt: skip
def test_anchors_are_taken_off_only_where_that_is_clear(pattern: str, inner: object) -> None:
    assert anchored(pattern) == inner


atoms = st.sampled_from(["a", "b", "/", ".", "[^/]", "[ab]", r"\d", "%", "-"])
pieces = st.builds(lambda atom, many: atom + many, atoms, st.sampled_from(["", "*", "+", "?"]))
patterns = st.builds(
    lambda start, parts, end: start + "".join(parts) + end,
    st.sampled_from(["", "^", "^/"]),
    st.lists(pieces, max_size=4),
    st.sampled_from(["", "$", "(?:/|$)"]),
)


@given(patterns, st.text("ab/%-1?", max_size=8), st.text("ab/?", max_size=5))
@settings(max_examples=500, deadline=None)
def test_a_rewritten_path_regex_sees_the_path_only(pattern: str, path: str, query: str) -> None:
    path = path.replace("?", "")
    inner = without(pattern, "?", r"(?:\?|$)", widen=True)
    assert inner is not None
    whole = Regex(rf"^[^?]*?(?:{inner})\C*$")
    wanted = Regex(pattern).matches(path.encode())
    assert whole.matches(path.encode()) is wanted
    assert whole.matches(f"{path}?{query}".encode()) is wanted


@given(patterns, st.none() | st.text("ab/%-1?", max_size=8))
@settings(max_examples=500, deadline=None)
def test_a_query_rule_asks_whenever_it_may_match(pattern: str, query: str | None) -> None:
    """A path without "?" has an empty query."""
    match = {"type": "query_string", "regexValue": pattern}
    claims = {"claims": [{"route": "a"}]}
    document = [{"id": "r", "match": match, "action": "classify", "classify": claims}]
    asking = analyse(parse(json.dumps(document)).rules[0])
    path = "/x" if query is None else f"/x?{query}"
    if Regex(pattern).matches((query or "").encode()):
        assert all(Regex(f"^(?:{one.regex})$").matches(path.encode()) for one in asking.conditions)


def test_the_bootstrap_keeps_stats_few_and_the_admin_on_loopback() -> None:
    document = json.loads(compile_bootstrap(FleetMember("n", "g", "xds.example", 18000, 9901)))
    assert document["admin"]["address"]["socketAddress"]["address"] == "127.0.0.1"
    assert document["node"] == {"cluster": "g", "id": "n"}
    assert document["statsConfig"]["statsMatcher"]["inclusionList"]["patterns"]
