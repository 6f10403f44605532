"""The addon's options: bad ones are refused in one line, and mitmproxy's own are made to fit."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import exceptions
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.test import taddons

from addons import proxy_options
from addons.cellway import CellwayRouter
from tests.addons.mitmdump import command

ANY = "regular@0"
BAD: list[dict[str, Any]] = [
    {"cellway_mode": "guess"},
    {"cellway_server": "localhost"},
    {"cellway_server_ca": "/nowhere/ca.pem"},
    {"cellway_timeout_ms": 0},
    {"cellway_refresh_s": -1},
    {"cellway_token": ""},
    {"cellway_token": "a b"},
    {"cellway_token": "\xe4"},
]


@pytest.mark.parametrize("option", BAD)
def test_bad_options_are_refused_with_their_name(option: dict[str, Any]) -> None:
    addon = CellwayRouter()
    with taddons.context(addon) as context:
        addon._is_running = True
        (name,) = option
        with pytest.raises(exceptions.OptionsError, match=name):
            context.configure(addon, **option)


@pytest.mark.parametrize("option", BAD)
async def test_nothing_is_routed_while_an_option_is_bad(option: dict[str, Any]) -> None:
    addon = CellwayRouter()
    with taddons.context(addon) as context:
        context.options.update(**option)
        problem = proxy_options.problem(context.options)
        assert problem is not None
        assert next(iter(option)) in problem


def test_what_mitmproxy_must_do_is_set_if_nobody_has_set_it() -> None:
    with taddons.context(Proxyserver()) as context:
        options = context.options
        options.update(keep_host_header=True)
        assert proxy_options.take_defaults_over(options) == ["connection_strategy=lazy"]
        assert (options.keep_host_header, options.connection_strategy) == (True, "lazy")


@pytest.mark.parametrize(
    ("name", "value"), [("keep_host_header", False), ("connection_strategy", "eager")]
)
def test_what_contradicts_the_addon_is_refused(name: str, value: Any) -> None:
    with taddons.context(Proxyserver(), CellwayRouter()) as context:
        context.options.reset()
        context.options.update(**{name: value})
        proxy_options.take_defaults_over(context.options)
        problem = proxy_options.problem(context.options)
        assert problem is not None
        assert f"{name}={str(value).lower()} can't be used" in problem


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["cellway_sever=x", "celway_token=x"], ["no option cellway_sever", "mean cellway_token?"]),
        (
            ["cellway_timeout_ms=soon", "cellway_mode=a", "cellway_mode=b"],
            ["cellway_timeout_ms=soon is no number", "cellway_mode is given 2 times"],
        ),
        (["connection_strategy=eager"], ["connection_strategy=eager can't be used"]),
    ],
)
def test_mitmdump_ends_with_a_line_that_names_the_bad_option(
    tmp_path: Path, options: list[str], said: list[str]
) -> None:
    options = ["cellway_server=http://127.0.0.1:1", *options]
    arguments = command(ANY, tmp_path, *(part for one in options for part in ("--set", one)))
    ended = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert [text for text in said if text in ended.stdout] == said
    assert "Traceback" not in ended.stdout + ended.stderr
