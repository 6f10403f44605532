"""`cellway up` with the real Envoy: ports that are taken, its end, and what a killed one leaves."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.cli.up_process import SlowCell, Up
from tests.e2e.ports import unused_port

PORTS = {
    "edge_port": "--edge-port",
    "envoy_admin_port": "--envoy-admin-port",
    "api_port": "--api-port",
    "grpc_port": "--grpc-port",
    "classifier_port": "--classifier-port",
}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("setting", PORTS)
def test_a_port_of_another_program_is_named_with_what_to_change(
    setting: str, tmp_path: Path
) -> None:
    with socket.socket() as other, Up(tmp_path) as up:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", unused_port()))
        other.listen()
        port = other.getsockname()[1]
        up.settings[setting] = port
        (line,) = [one for one in up.refused().splitlines() if one.startswith("cellway: ")]
        assert f"port {port} of 127.0.0.1 is taken" in line
        assert PORTS[setting] in line
        assert up.left is None


def test_two_systems_never_share_an_edge_port(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Up(tmp_path / "one", edge_port=0) as one:
        cell = SlowCell()
        cell.answer()
        # Before it has a ruleset nothing listens on the port, and yet it is its own.
        one.start()
        port = int(one.edge.rpartition(":")[2])
        assert port > 0
        with Up(tmp_path / "two", edge_port=port) as two:
            assert f"port {port} of 127.0.0.1 is taken" in two.refused()
            one.route(cell.port)
            assert one.ask() == 200
            assert f"port {port} of 127.0.0.1 is taken" in two.refused()
        with Up(tmp_path / "one", edge_port=0) as same:
            assert "runs in" in same.refused()
        assert one.ask() == 200


def test_requests_under_way_are_answered_before_it_ends(tmp_path: Path) -> None:
    cell = SlowCell()
    with Up(tmp_path).start() as up, ThreadPoolExecutor(10) as pool:
        up.route(cell.port)
        asked = [pool.submit(up.ask) for _ in range(10)]
        until(lambda: cell.waiting == 10)
        up.signal(signal.SIGTERM)
        until(lambda: "draining: 10 requests under way" in up.said)
        with pytest.raises(httpx.ConnectError):
            up.ask()
        cell.answer()
        assert [one.result() for one in asked] == [200] * 10
        assert up.wait() == 0
        assert up.left is None


@pytest.mark.parametrize("by", ["a second signal", "the bound"])
def test_what_does_not_end_does_not_hold_it_up(by: str, tmp_path: Path) -> None:
    cell = SlowCell()
    with Up(tmp_path, drain_s=0.5 if by == "the bound" else 30).start() as up:
        up.route(cell.port)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(up.ask)
            until(lambda: cell.waiting == 1)
            up.signal(signal.SIGTERM)
            until(lambda: "draining: 1 requests" in up.said)
            if by == "a second signal":
                up.signal(signal.SIGINT)
            assert up.wait() == 0
            with pytest.raises(httpx.TransportError):
                asked.result()
        assert ("are cut" in up.said) == (by == "the bound")
        assert up.left is None


def test_the_envoy_of_a_killed_one_serves_on_and_is_gone_on_with(tmp_path: Path) -> None:
    cell = SlowCell()
    cell.answer()
    with Up(tmp_path).start() as up:
        up.route(cell.port)
        up.signal(signal.SIGKILL)
        up.wait()
        left = up.left
        assert left is not None
        assert up.ask() == 200
        up.start()
        assert f"Envoy of an earlier run (pid {left.pid}) has served on" in up.said
        assert up.ask() == 200
        with up.api as api:
            (node,) = api.get("/v1/fleet").json()["items"]
        assert (node["state"], node["connected"]) == ("SYNCED", True)
        # With another port of the control plane its bootstrap is no longer right.
        up.signal(signal.SIGKILL)
        up.wait()
        up.settings["grpc_port"] = unused_port()
        up.start()
        assert f"Envoy of an earlier run (pid {left.pid}) is drained" in up.said
        assert up.ask() == 200
        up.signal(signal.SIGTERM)
        assert up.wait() == 0
        assert up.left is None


HOSTS = ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"]


@pytest.mark.parametrize("host", HOSTS)
def test_every_part_listens_and_is_found(host: str, tmp_path: Path) -> None:
    cell = SlowCell()
    cell.answer()
    with Up(tmp_path, host=host, edge_host=host, api_token="t").start() as up:
        up.route(cell.port)
        assert up.ask() == 200
        by_ipv4 = host in {"127.0.0.1", "localhost", "0.0.0.0", "::"}
        port = up.settings["edge_port"]
        for address in ["127.0.0.1"] * by_ipv4 + ["[::1]"] * (":" in host):
            assert httpx.get(f"http://{address}:{port}/", trust_env=False).status_code == 200
