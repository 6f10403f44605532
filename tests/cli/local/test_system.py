"""`cellway up` with the real Envoy: ports that are taken, its end, and what a killed one leaves."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.cli.client import Failure
from control_plane.cli.local.system import everything, up_here
from control_plane.process.envoy import LeftEnvoy
from control_plane.process.event_loop import run_loop
from control_plane.process.listening import host_port
from control_plane.settings import Settings
from tests.support.conditions import wait_until
from tests.support.plane import add_cell, route_all
from tests.support.ports import unused_port
from tests.support.slow_cell import SlowCell
from tests.support.system import System
from tests.support.up_process import Up

PORTS = {
    "edge_port": "--edge-port",
    "envoy_admin_port": "--envoy-admin-port",
    "api_port": "--api-port",
    "grpc_port": "--grpc-port",
    "classifier_port": "--classifier-port",
}
HOSTS = ["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"]


def settings_in(directory: Path, **given: Any) -> Settings:
    ports = dict.fromkeys(PORTS, 0)
    return Settings(
        **{
            **ports,
            "database_url": f"sqlite:///{directory}/up.db",
            "data_dir": directory,
            "classifier_workers": 0,
            "health_interval_s": 0,
            **given,
        }
    )


@pytest.mark.parametrize("setting", PORTS)
def test_a_port_of_another_program_is_named_with_what_to_change(
    setting: str, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", unused_port()))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Failure) as failed:
            up_here(settings_in(tmp_path, **{setting: port}))
    message = str(failed.value)
    assert f"port {port} of 127.0.0.1 is taken by another program" in message
    assert PORTS[setting] in message
    assert "\n" not in message
    assert LeftEnvoy.find(tmp_path / "envoy") is None


def test_two_systems_never_share_an_edge_port(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with SlowCell() as cell, Up(tmp_path / "one", edge_port=0) as one:
        cell.let_go()
        # Before it has a ruleset nothing listens on the port, and yet it is its own.
        one.start()
        port = int(one.edge.rpartition(":")[2])
        assert port > 0
        other = settings_in(tmp_path / "two", edge_port=port)
        taken = f"port {port} of 127.0.0.1 is taken"
        with pytest.raises(Failure, match=taken):
            up_here(other)
        one.route(cell.port)
        assert one.ask() == 200
        with pytest.raises(Failure, match=taken):
            up_here(other)
        with pytest.raises(Failure, match=r"a `cellway up` \(pid [0-9]+\) runs in .* already"):
            up_here(settings_in(tmp_path / "one" / "data"))
        assert one.ask() == 200


@pytest.mark.parametrize("host", HOSTS)
def test_every_part_listens_and_is_found(host: str, tmp_path: Path) -> None:
    async def main() -> None:
        given: dict[str, Any] = {"host": host, "edge_host": host, "api_token": "t" * 16}
        async with everything(settings_in(tmp_path, **given)) as (plane, _, _):
            add_cell(plane.topology, "c")
            route_all(plane.topology)
            assert await plane.fleet.wait(plane.topology.revision(), 20) == ()
            by_ipv4 = host != "::1"
            for address in ["127.0.0.1"] * by_ipv4 + ["::1"] * (":" in host):
                url = f"http://{host_port(address, plane.settings.edge_port)}/"
                async with httpx.AsyncClient(trust_env=False) as client:
                    # Nothing listens where the cell should be: the edge does its part.
                    answer = await client.get(url)
                    assert answer.status_code == 503
                    assert answer.headers["x-cellway-cell"] == "c"

    run_loop(main())


def test_an_address_that_is_not_of_this_machine_is_told_in_envoys_words(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"can't listen on 192\.0\.2\.1:0"):
        up_here(settings_in(tmp_path, edge_host="192.0.2.1"))
    with pytest.raises(ValueError, match="give an IP address"):
        settings_in(tmp_path, edge_host="edge.example")


def test_a_listener_that_envoy_refuses_ends_it_with_envoys_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody has taken the address between the reservation and Envoy's own binding."""

    async def main() -> None:
        async with everything(settings_in(tmp_path)) as (plane, _, _):
            add_cell(plane.topology, "c")
            route_all(plane.topology)

    run_loop(main())
    monkeypatch.setattr("control_plane.server.traffic.numeric", lambda _: "192.0.2.1")
    with pytest.raises(Failure, match=r"does not listen on .*cannot bind '192\.0\.2\.1"):
        up_here(settings_in(tmp_path))
    assert LeftEnvoy.find(tmp_path / "envoy") is None


def test_requests_under_way_are_answered_before_it_ends(tmp_path: Path) -> None:
    with SlowCell() as cell, Up(tmp_path) as up, ThreadPoolExecutor(10) as pool:
        up.start().route(cell.port)
        asked = [pool.submit(up.ask) for _ in range(10)]
        wait_until(lambda: cell.waiting == 10)
        up.signal(signal.SIGTERM)
        wait_until(lambda: "draining: 10 requests under way" in up.said)
        with pytest.raises(httpx.ConnectError):
            up.ask()
        cell.let_go()
        assert [one.result() for one in asked] == [200] * 10
        assert up.wait() == 0
        assert up.left is None


@pytest.mark.parametrize("by", ["a second signal", "the bound"])
def test_what_does_not_end_does_not_hold_it_up(by: str, tmp_path: Path) -> None:
    drain_s = 0.5 if by == "the bound" else 30
    with SlowCell() as cell, Up(tmp_path, drain_s=drain_s) as up:
        up.start().route(cell.port)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(up.ask)
            wait_until(lambda: cell.waiting == 1)
            up.signal(signal.SIGTERM)
            wait_until(lambda: "draining: 1 requests" in up.said)
            if by == "a second signal":
                up.signal(signal.SIGINT)
            assert up.wait() == 0
            with pytest.raises(httpx.TransportError):
                asked.result()
        assert ("are cut" in up.said) == (by == "the bound")
        assert up.left is None


def test_the_envoy_of_a_killed_one_serves_on_and_is_gone_on_with(tmp_path: Path) -> None:
    # A worker, too: a killed one leaves it, and it holds the port that the next one needs.
    with SlowCell() as cell, Up(tmp_path, classifier_workers=1) as up:
        cell.let_go()
        up.start().route(cell.port)
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
        # It listens where the next one wants it to.
        up.signal(signal.SIGKILL)
        up.wait()
        up.settings["edge_host"] = "0.0.0.0"
        up.start()
        assert f"Envoy of an earlier run (pid {left.pid}) has served on" in up.said
        assert "http://0.0.0.0:" in up.said
        assert up.ask() == 200
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


@pytest.mark.parametrize(
    "whose", ["its own", pytest.param("one that was left", marks=pytest.mark.slow)]
)
def test_an_envoy_that_ends_ends_it_and_is_said(whose: str, tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        up.start()
        if whose == "one that was left":
            up.signal(signal.SIGKILL)
            up.wait()
            up.start()
        assert up.left is not None
        os.kill(up.left.pid, signal.SIGKILL)
        assert up.wait() == 1
        assert "Envoy has ended" in up.said


@pytest.mark.slow
def test_an_envoy_that_was_stuck_when_its_parent_was_killed_is_replaced(tmp_path: Path) -> None:
    with Up(tmp_path) as up:
        up.start()
        stuck = up.left
        assert stuck is not None
        up.signal(signal.SIGKILL)
        up.wait()
        os.kill(stuck.pid, signal.SIGSTOP)
        up.start()
        assert f"Envoy of an earlier run (pid {stuck.pid}) does not answer" in up.said


def test_an_envoy_that_was_draining_when_its_parent_was_killed_is_replaced(tmp_path: Path) -> None:
    with SlowCell() as cell, Up(tmp_path) as up, ThreadPoolExecutor(1) as pool:
        up.start().route(cell.port)
        pool.submit(up.ask)
        wait_until(lambda: cell.waiting == 1)
        up.signal(signal.SIGTERM)
        wait_until(lambda: "draining: 1 requests" in up.said)
        up.signal(signal.SIGKILL)
        up.wait()
        cell.let_go()
        up.start()
        assert "is drained" in up.said
        assert up.ask() == 200


def test_an_envoy_of_ones_own_says_in_the_fleet_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with System(tmp_path, 1, edge_port=port) as system:
            add_cell(system.plane.topology)
            route_all(system.plane.topology)

            def errors() -> str:
                (node,) = system.api.get("/v1/fleet").json()["items"]
                return " ".join(one["error"] for one in node["types"])

            wait_until(lambda: "Address already in use" in errors())
            assert f"127.0.0.1:{port}" in errors()
