"""What an Envoy's admin port answers, and what its silence is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from control_plane.process import envoy_admin
from control_plane.process.admin_address import AdminAddress
from control_plane.process.envoy_admin import AdminSilent, EnvoyAdmin

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], EnvoyAdmin]:
    """An admin port that answers by a function."""

    def with_answers(answer: Answer) -> EnvoyAdmin:
        @asynccontextmanager
        async def mocked(_: EnvoyAdmin) -> AsyncIterator[httpx.AsyncClient]:
            transport = httpx.MockTransport(answer)
            async with httpx.AsyncClient(transport=transport, base_url="http://envoy") as client:
                yield client

        monkeypatch.setattr(EnvoyAdmin, "_client", mocked)
        return EnvoyAdmin(AdminAddress(port=1))

    return with_answers


async def test_listeners_are_addresses_and_ports(
    answering: Callable[[Answer], EnvoyAdmin],
) -> None:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 10000}}
    document = {"listener_statuses": [{"name": name, "local_address": address} for name in "ab"]}
    admin = answering(lambda _: httpx.Response(200, json=document))
    assert await admin.listens_on("a") == {("127.0.0.1", 10000)}
    assert await answering(lambda _: httpx.Response(200, json={})).listens_on("a") == set()


@pytest.mark.parametrize(("state", "live"), [("LIVE", True), ("DRAINING", False)])
async def test_an_envoy_that_drains_is_not_live(
    answering: Callable[[Answer], EnvoyAdmin], state: str, live: bool
) -> None:
    admin = answering(lambda _: httpx.Response(200, json={"state": state}))
    assert await admin.live() is live


async def test_a_drain_waits_for_what_is_under_way(
    answering: Callable[[Answer], EnvoyAdmin], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_admin, "POLL_S", 0)
    left, posted = [3, 1, 0], []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            posted.append(request.url.path)
            return httpx.Response(200)
        return httpx.Response(200, text=f"{envoy_admin.UNDER_WAY}: {left.pop(0)}\n")

    assert await answering(answer).drain(60) == 0
    assert (left, posted) == ([], ["/healthcheck/fail", "/drain_listeners"])
    left.append(2)
    assert await answering(answer).drain(0) == 2, "no longer than was said"


async def test_an_admin_port_that_fails_or_is_closed_is_silent(
    answering: Callable[[Answer], EnvoyAdmin], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AdminSilent, match=r"Envoy's admin interface at http://127.0.0.1:1: .*503"):
        await answering(lambda _: httpx.Response(503)).live()
    monkeypatch.undo()
    with pytest.raises(AdminSilent, match=r"Envoy's admin interface at http://127\.0\.0\.1:1: "):
        await EnvoyAdmin(AdminAddress(port=1)).live()
