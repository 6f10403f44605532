"""`envoy_state` on forged documents: it sees what is missing, left over or different."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.compiler.clusters import compile_cell
from control_plane.compiler.debug_filter import compile_debug_filter
from control_plane.compiler.edge_secret import compile_edge_secret
from control_plane.compiler.epochs import compile_epochs
from control_plane.compiler.model import TrafficPolicy
from control_plane.names import CDS, ECDS, EDS, EPOCHS_FILTER, RDS, SDS
from control_plane.topology.values.cell import Cell, CellState
from control_plane.topology.values.endpoint import Endpoint
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.e2e.envoy_state import EnvoyState, content, differences

Document = dict[str, Any]


def cell(name: str, host: str = "127.0.0.1") -> Cell:
    return Cell(
        1, name, f"{name}.example", (Endpoint(host, 80),), None, None, None, (), {},
        CellState.ACTIVE, 100, True, 1,
    )  # fmt: skip


def snapshot(*cells: Cell) -> Snapshot:
    compiled = [
        *(compile_cell(each, TrafficPolicy()) for each in cells),
        compile_debug_filter(7),
        compile_epochs(3, {1: 4}),
    ]
    return Snapshot(1, [Resource.of(one.type_url, one.name, one.body) for one in compiled])


PUBLISHED = snapshot(cell("one"), cell("two", "127.0.0.2"), cell("dns", "localhost"))


def dumped(published: Snapshot) -> EnvoyState:
    """Return what an Envoy says that runs everything; it resolves `localhost` to 127.0.0.1."""
    clusters = [content(one) for one in published.of_type(CDS).values()]
    filters = [content(one) for one in published.of_type(ECDS).values()]
    hosts = {
        "cell:one": {"address": "127.0.0.1", "port_value": 80},
        "cell:two": {"address": "127.0.0.2", "port_value": 80},
        "cell:dns": {"address": "127.0.0.1", "port_value": 80},
    }
    endpoints = [
        {
            "endpoint_config": {
                "cluster_name": name,
                "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": {"socket_address": socket}}}]}
                ],
            }
        }
        for name, socket in hosts.items()
    ]
    admin = "type.googleapis.com/envoy.admin.v3"
    configs: list[Document] = [
        {
            "@type": f"{admin}.ClustersConfigDump",
            "dynamic_active_clusters": [{"cluster": one} for one in clusters],
        },
        {"@type": f"{admin}.EcdsConfigDump", "ecds_filters": [{"ecds_filter": o} for o in filters]},
        {"@type": f"{admin}.EndpointsConfigDump", "dynamic_endpoint_configs": endpoints},
    ]
    statuses = [
        {
            "name": name,
            "added_via_api": True,
            "host_statuses": [
                {
                    "address": {"socket_address": socket},
                    "health_status": {"eds_health_status": "HEALTHY"},
                }
            ],
        }
        for name, socket in hosts.items()
    ]
    # Copied, because the tests change the parts.
    return EnvoyState(
        copy.deepcopy({"configs": configs}), copy.deepcopy({"cluster_statuses": statuses})
    )


def test_an_envoy_that_runs_everything_has_no_difference() -> None:
    assert differences(dumped(PUBLISHED), PUBLISHED) == []


def clusters(state: EnvoyState) -> list[Document]:
    dumped_clusters: list[Document] = state.config_dump["configs"][0]["dynamic_active_clusters"]
    return dumped_clusters


def filters(state: EnvoyState) -> list[Document]:
    dumped_filters: list[Document] = state.config_dump["configs"][1]["ecds_filters"]
    return dumped_filters


def lose_a_cluster(state: EnvoyState) -> None:
    del clusters(state)[0]


def keep_a_cluster(state: EnvoyState) -> None:
    clusters(state).append({"cluster": content(snapshot(cell("old")).of_type(CDS)["cell:old"])})


def keep_an_old_version(state: EnvoyState) -> None:
    clusters(state)[0]["cluster"]["connect_timeout"] = "9s"


def keep_old_epochs(state: EnvoyState) -> None:
    old = compile_epochs(3, {1: 2})
    index = next(i for i, o in enumerate(filters(state)) if o["ecds_filter"]["name"] == old.name)
    resource = Resource.of(old.type_url, old.name, old.body)
    filters(state)[index]["ecds_filter"] = content(resource)


def lose_a_filter(state: EnvoyState) -> None:
    filters(state).clear()


def go_on_warming(state: EnvoyState) -> None:
    lists = state.config_dump["configs"][0]
    lists["dynamic_warming_clusters"] = [lists["dynamic_active_clusters"].pop()]


def keep_a_host(state: EnvoyState) -> None:
    hosts = state.clusters["cluster_statuses"][0]["host_statuses"]
    old = copy.deepcopy(hosts[0])
    old["address"]["socket_address"]["port_value"] = 81
    hosts.append(old)


def keep_a_host_by_name(state: EnvoyState) -> None:
    hosts = state.clusters["cluster_statuses"][2]["host_statuses"]
    hosts[0]["address"]["socket_address"]["port_value"] = 81


def lose_the_hosts(state: EnvoyState) -> None:
    del state.clusters["cluster_statuses"][1]["host_statuses"]


def be_on_another_host(state: EnvoyState) -> None:
    dumped = state.config_dump["configs"][2]["dynamic_endpoint_configs"][1]["endpoint_config"]
    endpoint = dumped["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"]["socket_address"]["address"] = "127.0.0.3"


def have_a_dying_host(state: EnvoyState) -> None:
    host = state.clusters["cluster_statuses"][0]["host_statuses"][0]
    host["health_status"]["pending_dynamic_removal"] = True


@pytest.mark.parametrize(
    ("doctor", "said"),
    [
        (lose_a_cluster, "CDS cell:one is published, but Envoy lacks it"),
        (keep_a_cluster, "CDS cell:old runs, but is not published"),
        (keep_an_old_version, "CDS cell:one differs: .connect_timeout is '9s', not '1s'"),
        (keep_old_epochs, f"ECDS {EPOCHS_FILTER} differs: .typed_config.on_request_headers"),
        (lose_a_filter, f"ECDS {EPOCHS_FILTER} is published, but Envoy lacks it"),
        (go_on_warming, "CDS cell:dns is warming"),
        (keep_a_host, "EDS cell:one has ['127.0.0.1:80', '127.0.0.1:81'] by /clusters"),
        (keep_a_host_by_name, "EDS cell:dns has ['127.0.0.1:81'] by /clusters"),
        (lose_the_hosts, "EDS cell:two has [] by /clusters, not ['127.0.0.2:80']"),
        (be_on_another_host, "EDS cell:two has ['127.0.0.3:80'] by config_dump"),
        (have_a_dying_host, "cell:one 127.0.0.1:80 is {"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_difference_is_seen(doctor: Callable[[EnvoyState], None], said: str) -> None:
    state = dumped(PUBLISHED)
    doctor(state)
    different = differences(state, PUBLISHED)
    assert any(one.startswith(said) for one in different), different


def test_a_secret_is_looked_for_by_its_name() -> None:
    secret = compile_edge_secret("s")
    published = Snapshot(1, [Resource.of(secret.type_url, secret.name, secret.body)])
    config = {"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"}
    lacks = EnvoyState({"configs": [config]}, {})
    assert differences(lacks, published) == [
        f"{SDS} {secret.name} is published, but Envoy lacks it"
    ]
    names = {"dynamic_active_secrets": [{"name": secret.name}]}
    assert differences(EnvoyState({"configs": [config | names]}, {}), published) == []


def test_a_difference_in_any_field_is_seen() -> None:
    """Each field of a cluster in turn is left out of what runs."""
    (name,) = snapshot(cell("one")).of_type(CDS)
    for field in content(PUBLISHED.of_type(CDS)[name]):
        state = dumped(PUBLISHED)
        del next(one for one in clusters(state) if one["cluster"]["name"] == name)["cluster"][field]
        if field not in {"name", "@type"}:
            assert differences(state, PUBLISHED), field


def test_refused_resources_are_left_out() -> None:
    state = dumped(PUBLISHED)
    lose_a_cluster(state)
    besides = [(CDS, "cell:one"), (EDS, "cell:one")]
    assert differences(state, PUBLISHED, besides=besides) == []
    assert differences(state, PUBLISHED, besides=[(RDS, "cell:one")]) != []
