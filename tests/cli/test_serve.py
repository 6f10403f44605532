"""``cellway serve``: its options become settings, and it does not start open to a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.client import Exit
from control_plane.cli.local import system
from control_plane.settings import Settings
from tests.cli.cellway_command import Cellway

cellway = Cellway("http://127.0.0.1:1", CELLWAY_GRPC_PORT="7")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of the control planes that would have started."""
    settings: list[Settings] = []
    monkeypatch.setattr(system, "serve_here", settings.append)
    return settings


def test_an_option_wins_over_its_variable(started: list[Settings]) -> None:
    options = ("--api-port", "5", "--host", "::1", "--classifier-protocol", "grpc")
    assert cellway("serve", *options, "--roles", "api,xds", "--force-shrink").returncode == 0
    assert cellway("serve", "--grpc-port", "9").returncode == 0
    first, second = started
    assert (first.api_port, first.grpc_port, first.host) == (5, 7, "::1")
    assert (first.roles, first.classifier_protocol) == (("api", "xds"), "grpc")
    assert (first.force_shrink, second.force_shrink) == (True, False)
    assert second.grpc_port == 9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--roles", "api,nonsense"), "--roles: "),
        (("--grpc-tls-key", "key.pem"), "belong together"),
        (("--redis-url", "http://u:secret@h"), "--redis-url: "),
        (("--redis-url", "redis://:@h"), "CELLWAY_REDIS_URL has an empty password"),
        (("--database-url", "secret"), "CELLWAY_DATABASE_URL is no URL"),
    ],
)
def test_a_wrong_configuration_names_the_setting(options: tuple[str, ...], says: str) -> None:
    ended = cellway("serve", *options)
    assert (ended.returncode, says in ended.stderr) == (Exit.USAGE, True), ended.stderr
    assert "the configuration is wrong" in ended.stderr
    assert "secret" not in ended.stderr


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ({"CELLWAY_API_TOKEN": ""}, "CELLWAY_API_TOKEN is empty"),
        ({"CELLWAY_API_TOKEN": "secret"}, "CELLWAY_API_TOKEN needs 16"),
        ({"CELLWAY_REDIS_URL": ""}, "CELLWAY_REDIS_URL is empty"),
        ({"CELLWAY_API_HOSTS": ""}, "CELLWAY_API_HOSTS is empty"),
        ({"CELLWAY_API_HOSTS": '["secret"'}, "a list as JSON"),
    ],
)
def test_an_unset_variable_of_a_compose_file_opens_no_door(
    variable: dict[str, str], says: str
) -> None:
    ended = Cellway("http://127.0.0.1:1", **variable)("serve", "--host", "0.0.0.0")
    assert (ended.returncode, ended.stdout) == (Exit.USAGE, "")
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 2
    assert "secret" not in ended.stderr


def test_without_a_token_it_is_not_open_to_a_network(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    ended = cellway("serve", "--host", "0.0.0.0", "--database-url", url)
    assert (ended.returncode, "CELLWAY_API_TOKEN" in ended.stderr) == (Exit.REFUSED, True)
    assert list(tmp_path.iterdir()) == []
