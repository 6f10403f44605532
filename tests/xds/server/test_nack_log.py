"""What a client refuses is logged once, however often it is sent again."""

from __future__ import annotations

import pytest

from control_plane.xds.session import refusal as module
from control_plane.xds.session.status import MAX_ERRORS
from tests.xds.server.wire import Wire, answer, clusters, first, read


async def test_each_text_of_many_refused_resources_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.01)
    monkeypatch.setattr(module, "RETRY_MAX_S", 0.01)
    names = [f"c{number:02d}" for number in range(MAX_ERRORS + 5)]
    tries = dict.fromkeys(names, 0)
    async with Wire() as wire:
        wire.cache.set(clusters(1, *names))
        call = wire.stub.DeltaAggregatedResources()
        await call.write(first("n1"))
        while min(tries.values()) < 3:
            response = await read(call)
            said = [one.name for one in response.resources]
            for name in said:
                tries[name] += len(said) == 1
            await call.write(answer(response, f"bad: {' '.join(said)}"))
        (status,) = wire.fleet.nodes()[0].types
        assert status.rejected == tuple(names)
        assert status.error.endswith("; and 5 more")
        assert status.error.count("bad: ") == MAX_ERRORS
        call.cancel()
    logged = [one.getMessage() for one in caplog.records if "NACKed" in one.getMessage()]
    assert len(logged) == len(set(logged)) >= len(names)
