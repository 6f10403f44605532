"""Options that several commands have: what they read, and what they say of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from control_plane.cli.client import Exit, Failure
from control_plane.cli.options import claim_key, host_port, seconds, with_options


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:18000", ("10.0.0.1", 18000)),
        ("cp.example:0", ("cp.example", 0)),
        ("[::1]:18000", ("::1", 18000)),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert host_port("--xds", text) == address


def test_a_claims_key_is_cut_at_its_first_colon() -> None:
    assert claim_key("email:a:b") == {"bucket": "email", "value": "a:b"}


def test_a_duration_is_read_in_seconds() -> None:
    texts = ("30s", "10m", "2h", "1d")
    assert [seconds("--older-than", text) for text in texts] == [30, 600, 7200, 86400]


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: host_port("--xds", "nohost"), "--xds 'nohost' is not host:port"),
        (lambda: host_port("--xds", ":18000"), "is not host:port"),
        (lambda: host_port("--xds", "h:65536"), "is not host:port"),
        (lambda: host_port("--xds", "h:²"), "is not host:port"),
        (lambda: claim_key("nonsense"), "is not bucket:value; write route:gitlab-org"),
        (lambda: claim_key("route:"), "is not bucket:value"),
        (lambda: seconds("--older-than", "soon"), "--older-than 'soon' is no duration; write 10m"),
        (lambda: seconds("--expires", "3s", "hd", "12h or 90d"), "write 12h or 90d"),
    ],
)
def test_what_can_t_be_read_is_named_with_an_example(read: Callable[[], Any], says: str) -> None:
    with pytest.raises(Failure) as raised:
        read()
    assert says in str(raised.value)
    assert raised.value.status is Exit.USAGE


@dataclass(frozen=True, kw_only=True)
class Base:
    port: Annotated[int, typer.Option(help="where it listens")] = 8000


@dataclass(frozen=True, kw_only=True)
class Options(Base):
    name: Annotated[str, typer.Option()]


def test_a_command_takes_the_fields_of_a_dataclass_as_options() -> None:
    taken: list[tuple[str, Options]] = []
    app = typer.Typer()

    @app.command()
    @with_options(Options)
    def run(ctx: typer.Context, what: str, options: Options) -> None:
        """Say what it does."""
        taken.append((what, options))

    invoke = CliRunner().invoke
    assert invoke(app, ["it", "--name", "n"]).exit_code == 0
    assert invoke(app, ["it", "--name", "n", "--port", "1"]).exit_code == 0
    assert taken == [("it", Options(name="n")), ("it", Options(name="n", port=1))]
    assert invoke(app, ["it"]).exit_code == Exit.USAGE, "a field without a default is required"
    text = invoke(app, ["--help"]).stdout
    assert "Say what it does." in text
    assert "where it listens" in text
