"""The rules of methods, without a server."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control_plane.grpc_api.auth.access import ANYONE, Access, access_for, access_of
from control_plane.grpc_api.auth.identity import Caller, Identity, Role

CELL, ROUTER = Identity(Role.CELL, 3), Identity(Role.ROUTER)
ADMIN, NODE = Identity(Role.ADMIN), Identity(Role.NODE, 0, "edge", "n-1")


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


def test_a_cell_s_own_methods_are_for_that_cell() -> None:
    package = "gitlab.cells.topology_service"
    begin = access_for(f"/{package}.claims.v1.ClaimService/BeginUpdate")
    assert begin.refusal(Caller((CELL,)), 3) is None
    assert begin.refusal(Caller((CELL,)), 4) == "cell/3 may not act for cell 4"
    assert begin.refusal(Caller((ROUTER,)), 3) == "router may not call this"
