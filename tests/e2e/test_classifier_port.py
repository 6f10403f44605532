"""A real Envoy asks the classifier with the secret that it was sent; strangers get nothing.

The tenant's name is not plain, so that the classifier is asked even if the edge has a map of owners.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from control_plane.classifier import authentication
from control_plane.names import EDGE_SECRET_HEADER
from control_plane.topology.storage import schema
from tests.support.certificates import Authority
from tests.support.conditions import wait_until
from tests.support.envoy_admin import sync_client
from tests.support.system import System

STRANGERS = 600
REFUSED = {"why": "wrong_secret", "answered": "no"}


@contextlib.contextmanager
def system(directory: Path, **settings: Any) -> Iterator[System]:
    """Run a system whose edge keeps no answer, so that each request asks the classifier."""
    with System(directory, cells=1, edge_cache_entries=0, **settings) as running:
        running.add_cells()
        running.use_ruleset("generic")
        running.claim("cell-1", "tenant:acmé")
        running.in_step()
        yield running


def ask(running: System, **headers: str) -> httpx.Response:
    url = f"http://127.0.0.1:{running.edge_port}/t/acm%C3%A9/x"
    return httpx.get(url, headers=headers, trust_env=False, timeout=20)


def counted(running: System, name: str, labels: dict[str, str]) -> float:
    for family in text_string_to_metric_families(running.api.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0.0


def make_another_root(running: System) -> None:
    """Have classifiers accept other secrets than edges have been sent."""
    with running.plane.topology._store._write_engine.begin() as connection:
        connection.execute(update(schema.edge_secrets).values(root="ab" * 32))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication, "REREAD_S", 0.05)
        with system(tmp_path_factory.mktemp("port")) as one:
            yield one


def test_the_secret_reaches_neither_cell_nor_client_nor_any_view_of_the_configuration(
    running: System,
) -> None:
    secret = running.plane.topology.edge_secrets.read().current
    answer = ask(running, **{EDGE_SECRET_HEADER: "forged"})
    assert answer.status_code == 200
    assert EDGE_SECRET_HEADER not in answer.text + str(answer.headers)
    with sync_client(running.admin) as admin:
        dump = admin.get("/config_dump").text
    views = [running.api.get(path).text for path in ("/v1/fleet", "/v1/edge-secret", "/metrics")]
    assert EDGE_SECRET_HEADER in dump
    assert secret not in "".join([dump, *views])


def test_no_request_fails_while_the_secret_is_rotated(running: System) -> None:
    before = running.plane.topology.edge_secrets.read()
    for turn in range(1, 4):
        running.write("POST", "/v1/edge-secret/rotate?force=true")
        assert [ask(running).status_code for _ in range(3)] == [200] * 3
        running.in_step()
        after = running.plane.topology.edge_secrets.read()
        assert after.generation == before.generation + turn
        assert ask(running).status_code == 200
    assert before.current not in after.accepted
    assert counted(running, "cellway_classifier_strangers_total", REFUSED) == 0
    audit = running.api.get("/v1/audit?kind=edge_secret").json()["items"]
    assert audit[0]["after"] == {"generation": after.generation}
    assert not any(secret in str(audit) for secret in after.accepted)


def test_an_edge_with_a_wrong_secret_fails_as_the_rule_says_until_it_gets_the_right_one(
    running: System,
) -> None:
    make_another_root(running)
    wait_until(lambda: ask(running).status_code == 503)
    assert counted(running, "cellway_classifier_strangers_total", REFUSED) > 0
    running.write("POST", "/v1/edge-secret/rotate?force=true&wait=fleet&timeout=20s")
    wait_until(lambda: ask(running).status_code == 200)


def test_idle_strangers_cost_no_request(running: System) -> None:
    with contextlib.ExitStack() as strangers:
        for number in range(STRANGERS):
            address = ("127.0.0.1", running.plane.ports.classifier)
            strangers.enter_context(socket.create_connection(address))
            if number % 50 == 0:
                assert ask(running).status_code == 200
        assert [ask(running).status_code for _ in range(10)] == [200] * 10
    closed = counted(
        running, "cellway_classifier_connections_closed_total", {"why": "room_for_another"}
    )
    assert closed >= STRANGERS - 300


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_the_edge_asks_only_whom_it_trusts(tmp_path: Path, *, trusted: bool) -> None:
    authority = Authority()
    pair = authority.sign(dns=("classifier",))
    ca = authority if trusted else Authority("another")
    contents = {"certificate": pair.certificate, "key": pair.key, "ca": ca.pem}
    settings: dict[str, Any] = {"classifier_tls_name": "classifier"}
    for name, content in contents.items():
        file = settings[f"classifier_tls_{name}"] = tmp_path / f"{name}.pem"
        file.write_bytes(content)
    with system(tmp_path, classifier_workers=int(trusted), **settings) as one:
        assert ask(one).status_code == (200 if trusted else 503)
        handshakes = one.stats("cluster.cellway_classifier.ssl.(handshake|fail_verify_error)")
        assert handshakes["cluster.cellway_classifier.ssl.fail_verify_error"] == 0 or not trusted
        assert handshakes["cluster.cellway_classifier.ssl.handshake"] > 0 or not trusted


def test_over_grpc_the_secret_is_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "REREAD_S", 0.05)
    with system(tmp_path, classifier_protocol="grpc") as one:
        assert ask(one).status_code == 200
        make_another_root(one)
        wait_until(lambda: ask(one).status_code == 503)
        assert counted(one, "cellway_classifier_strangers_total", REFUSED) > 0
