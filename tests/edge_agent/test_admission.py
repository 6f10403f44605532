"""Whom an agent serves: one Envoy, known by its node id, with as many streams as it can have."""

from __future__ import annotations

import stat
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc

from control_plane.edge_agent import admission, upstream
from control_plane.edge_agent.agent import AgentSettings, RunningAgent, running
from tests.edge_agent.ads_client import AdsClient
from tests.support.conditions import until

NO_PLANE = "127.0.0.1:1"
ANY_PORT = ("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "ENDING_S", 0.05)
    monkeypatch.setattr(admission, "HELLO_S", 0.2)
    # But a busy machine may take longer to report the status of a stream.
    monkeypatch.setattr(upstream, "STATUS_S", 20.0)


def refused(agent: RunningAgent, reason: str) -> float | None:
    name = "cellway_agent_streams_refused_total"
    return agent.metrics.registry.get_sample_value(name, {"reason": reason})


def waiting(agent: RunningAgent) -> float | None:
    return agent.metrics.registry.get_sample_value("cellway_agent_streams", {"from": "waiting"})


async def serves(settings: AgentSettings, node: str) -> None:
    """Check that an agent with these settings serves this Envoy."""
    async with (
        running(settings) as agent,
        AdsClient(agent.address, node=node) as client,
        client.connected(),
    ):
        await until(lambda: waiting(agent) == 1)


async def test_its_socket_is_for_its_user_alone_and_goes_on_after_a_crash(tmp_path: Path) -> None:
    for _ in range(2):
        async with running(AgentSettings(NO_PLANE, tmp_path / "a")) as agent:
            path = tmp_path / "a" / "agent.sock"
            assert agent.address == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            other = AgentSettings(NO_PLANE, tmp_path / "b", listen=str(path))
            with pytest.raises(OSError, match="another program serves"):
                async with running(other):
                    pass
            async with AdsClient(agent.address) as client, client.connected():
                await until(lambda: waiting(agent) == 1)
        path.unlink(missing_ok=True)
        path.touch()
        with pytest.raises(OSError, match=r"is no socket: choose another with --listen"):
            async with running(AgentSettings(NO_PLANE, tmp_path / "a")):
                pass
        path.unlink()


@pytest.mark.parametrize("node_id", ["n1", None])
async def test_who_was_first_stays_the_one_unless_the_operator_says_another(
    tmp_path: Path, node_id: str | None
) -> None:
    settings = AgentSettings(NO_PLANE, tmp_path, node_id)
    if node_id is None:
        await serves(settings, "n1")
    async with running(settings) as agent:
        for stranger in ("n2", "", "n1 ", "\u202en1", "n" * 257):
            async with AdsClient(agent.address, node=stranger) as other, other.connected():
                await until(other.ended)
            assert "'n1'" in other.error or "visible ASCII" in other.error
        assert refused(agent, "node") == 5
        async with AdsClient(agent.address, node="n1") as own, own.connected():
            await until(lambda: waiting(agent) == 1)
    await serves(AgentSettings(NO_PLANE, tmp_path, "n2"), "n2")


async def test_over_tcp_a_second_stream_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    async with (
        running(AgentSettings(NO_PLANE, tmp_path, "n1", ANY_PORT)) as agent,
        AdsClient(agent.address) as first,
    ):
        async with first.connected():
            await until(lambda: waiting(agent) == 1)
            async with AdsClient(agent.address) as second, second.connected():
                await until(second.ended)
            assert second.error == "1 stream(s) of 'n1' are open, and stay so"
            assert not first.ended()
        assert refused(agent, "second") == 1
        async with AdsClient(agent.address) as later, later.connected():
            await until(lambda: waiting(agent) == 1)
            assert not later.ended()


async def test_over_a_socket_an_envoy_can_take_over_from_its_predecessor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(AgentSettings(NO_PLANE, tmp_path)) as agent,
        AdsClient(agent.address) as first,
        AdsClient(agent.address) as second,
    ):
        async with first.connected(), second.connected():
            await until(lambda: waiting(agent) == 2)
            assert "'n1' has a second stream" in caplog.text
            async with AdsClient(agent.address) as third, third.connected():
                await until(third.ended)
            assert "2 stream(s) of 'n1' are open" in third.error
        assert refused(agent, "second") == 1


async def test_a_silent_stream_is_ended(tmp_path: Path) -> None:
    async with running(AgentSettings(NO_PLANE, tmp_path)) as agent:
        async with grpc.aio.insecure_channel(agent.address) as channel:
            call = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources()
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert await call.details() == "no request came within 0.2 s"
        assert refused(agent, "silent") == 1


async def test_over_tcp_without_a_node_id_the_operator_is_warned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(AgentSettings(NO_PLANE, tmp_path, listen=ANY_PORT)):
        assert "everybody on this machine reaches 127.0.0.1:0: give --node-id" in caplog.text


async def test_a_full_disk_keeps_nobody_from_being_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(admission, "private_file", full)
    await serves(AgentSettings(NO_PLANE, tmp_path, "n1"), "n1")
    assert "node can't be written: no space left on device" in caplog.text
