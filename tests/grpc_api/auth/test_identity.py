"""Names in certificates and the rules of methods, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.grpc_api.auth.access import ANYONE, Access, access_for, access_of
from control_plane.grpc_api.auth.identity import BadPattern, Caller, Identity, NamePatterns, Role
from control_plane.server.grpc_listener import security_of
from control_plane.settings import BadSetting, Settings

NAMES = NamePatterns({Role(role): name for role, name in Settings().grpc_names().items()})
CELL, ROUTER = Identity(Role.CELL, 3), Identity(Role.ROUTER)
ADMIN, NODE = Identity(Role.ADMIN), Identity(Role.NODE, 0, "edge", "n-1")


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("spiffe://cellway/cell/3", CELL),
        ("spiffe://cellway/router", ROUTER),
        ("spiffe://cellway/router/eu-1", ROUTER),
        ("spiffe://cellway/admin/ann", ADMIN),
        ("spiffe://cellway/node/edge/n-1", NODE),
        ("spiffe://cellway/cell/0", None),
        ("spiffe://cellway/cell/03", None),
        ("spiffe://cellway/cell/99999999999999999999", None),
        ("spiffe://cellway/cell/3/x", None),
        ("xspiffe://cellway/cell/3", None),
        ("spiffe://cellway/cell/3\n", None),
        ("spiffe://other/cell/3", None),
        ("spiffe://cellway/administrator", None),
        ("spiffe://cellway/node/edge", None),
        ("spiffe://cellway/node/edge/a/b", None),
        ("", None),
    ],
)
def test_whom_a_name_means(name: str, identity: Identity | None) -> None:
    assert NAMES.caller_of([name]) == (identity and Caller((identity,)))


def test_a_certificate_may_name_several_things() -> None:
    both = ["x.example", "spiffe://cellway/router", "spiffe://cellway/node/edge/n-1"]
    assert NAMES.caller_of(both) == Caller((ROUTER, NODE))
    assert str(NAMES.caller_of(both)) == "router+node/edge/n-1"


@pytest.mark.parametrize(
    ("role", "pattern", "text"),
    [
        (Role.CELL, "cell-([0-9]+)", "capture cell"),
        (Role.CELL, "(?P<cell>", "no RE2 regex"),
        (Role.NODE, "(?P<group>.*)", "capture group, node"),
        (Role.ADMIN, "(?P<cell>.*)", "capture nothing"),
    ],
)
def test_patterns_that_can_t_work_are_refused(role: Role, pattern: str, text: str) -> None:
    with pytest.raises(BadPattern, match=text):
        NamePatterns({role: pattern})
    with pytest.raises(BadSetting, match=text):
        security_of(Settings(**{f"grpc_{role}_name": pattern}))


def test_patterns_of_one_s_own() -> None:
    names = NamePatterns({Role.CELL: r"c(?P<cell>\d+)\.cells\.example"})
    assert names.caller_of(["c7.cells.example"]) == Caller((Identity(Role.CELL, 7),))


def test_rules_are_alternatives() -> None:
    classify = access_of([2, 4, 5])
    own = access_of([3, 5])
    for identity, cell_id, may_classify, may_own in (
        (CELL, 3, True, True),
        (CELL, 4, True, False),
        (CELL, None, True, False),
        (ROUTER, 3, True, False),
        (ADMIN, 4, True, True),
        (NODE, 3, False, False),
    ):
        caller = Caller((identity,))
        assert (classify.refusal(caller, cell_id) is None) is may_classify, identity
        assert (own.refusal(caller, cell_id) is None) is may_own, identity
    assert access_of([]) == access_of([1]) == ANYONE
    # What only newer protocols know allows nobody, and opens nothing.
    assert access_of([99]) == Access()
    assert access_of([0]).refusal(Caller((ADMIN,)), None) is not None


def test_a_node_is_served_as_itself_only() -> None:
    ads = access_for(
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
    )
    node = Caller((NODE,))
    assert ads.refusal(node, None) is None
    assert ads.node_refusal(node, "n-1", "edge") is None
    assert ads.node_refusal(node, "n-1", "other") is not None
    assert ads.node_refusal(node, "n-2", "edge") is not None
    assert ads.node_refusal(Caller((ADMIN,)), "n-2", "edge") is None
    assert ads.refusal(Caller((CELL, ROUTER)), None) is not None


@given(st.text(max_size=60))
def test_an_unknown_method_is_for_admins(method: str) -> None:
    access = access_for(f"/{method}")
    assert access.refusal(Caller((CELL, ROUTER, NODE)), 3) is not None
    assert access.refusal(Caller((ADMIN,)), None) is None


def test_other_services_on_the_port() -> None:
    status = access_for("/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus")
    assert status.refusal(Caller((NODE,)), None) is not None
    check = access_for("/envoy.service.auth.v3.Authorization/Check")
    assert check.refusal(Caller((NODE,)), None) is None
    assert check.refusal(Caller((CELL,)), None) is not None
    assert access_for("/grpc.health.v1.Health/Check") == ANYONE


def test_where_grpc_listens() -> None:
    assert Settings(host="10.0.0.1").grpc_host == "127.0.0.1"
    assert Settings(host="::").grpc_host == "::1"
    assert Settings(host="::1").grpc_host == "::1"
    assert Settings(host="0.0.0.0", grpc_plaintext_beyond_loopback=True).grpc_host == "0.0.0.0"
    files = {f"grpc_tls_{name}": f"/tls/{name}" for name in ("certificate", "key", "client_ca")}
    assert Settings(host="0.0.0.0", **files).grpc_host == "0.0.0.0"
    with pytest.raises(ValidationError, match="belong together"):
        Settings(grpc_tls_key="/tls/key")
    with pytest.raises(ValidationError, match="plaintext"):
        Settings(classifier_protocol="grpc", **files)
