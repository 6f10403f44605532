"""`EnvoyProcess` starts, ends and waits for Envoy as its users rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.child_process import ChildFailed
from tests.support.edge_bootstrap import EDGE_LISTENER, echo_bootstrap
from tests.support.envoy_process import EnvoyProcess

NO_UPSTREAM_PORT = 1


def test_a_broken_bootstrap_is_an_error_that_carries_the_log(tmp_path: Path) -> None:
    envoy = EnvoyProcess({"no_such_field": 1}, tmp_path)
    with pytest.raises(ChildFailed, match="no_such_field"):
        envoy.start()
    assert not envoy.running


def test_it_starts_again_after_a_crash_and_stops_twice(tmp_path: Path) -> None:
    envoy = EnvoyProcess(echo_bootstrap(NO_UPSTREAM_PORT), tmp_path)
    with envoy:
        envoy.kill()
        assert not envoy.running
        envoy.start()
        assert envoy.is_ready()
        assert envoy.listener_port(EDGE_LISTENER) > 0
        assert envoy.stats("http.edge.downstream_cx_total") == {"http.edge.downstream_cx_total": 0}
        with pytest.raises(KeyError):
            envoy.listener_port("no such listener")
    envoy.stop()
    assert not envoy.running


async def test_it_is_an_asynchronous_context_manager_too(tmp_path: Path) -> None:
    async with EnvoyProcess(echo_bootstrap(NO_UPSTREAM_PORT), tmp_path) as envoy:
        status, text = envoy.admin("/server_info")
        assert (status, '"state": "LIVE"' in text) == (200, True)
        with pytest.raises(ChildFailed, match="running already"):
            envoy.start()
    assert not envoy.running


def test_a_condition_that_never_holds_is_named(tmp_path: Path) -> None:
    with (
        EnvoyProcess(echo_bootstrap(NO_UPSTREAM_PORT), tmp_path) as envoy,
        pytest.raises(ChildFailed, match=r"not in 0\.1 s: pigs fly"),
    ):
        envoy.wait_until(lambda: False, "pigs fly", 0.1)
