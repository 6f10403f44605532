"""Settings from options: what is not given is left to others, and all that is wrong is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local.settings import settings_of


def test_none_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLWAY_API_PORT", "7")
    settings = settings_of(api_port=None, grpc_port=0)
    assert (settings.api_port, settings.grpc_port) == (7, 0)


def test_everything_that_is_wrong_is_said_in_a_line_each() -> None:
    with pytest.raises(Failure) as raised:
        settings_of(api_port=70_000, drain_s=-1)
    assert raised.value.status is Exit.USAGE
    heading, *lines = str(raised.value).splitlines()
    assert heading == "the configuration is wrong"
    assert [line.partition(":")[0].strip() for line in lines] == ["--api-port", "--drain-s"]


@pytest.mark.parametrize(
    ("text", "roles"),
    [("api,xds", ("api", "xds")), (" api , ", ("api",)), ('["xds"]', ("xds",)), ("api", ("api",))],
)
def test_a_list_in_the_environment_is_words_or_json(
    text: str, roles: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLWAY_ROLES", text)
    assert settings_of().roles == roles


def test_a_pattern_in_the_environment_keeps_its_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = "spiffe://x/router/[a-z]{1,3}"
    monkeypatch.setenv("CELLWAY_GRPC_ROUTER_NAME", pattern)
    assert settings_of().grpc_router_name == pattern


def test_a_database_is_in_the_data_directory_unless_it_is_named(tmp_path: Path) -> None:
    assert settings_of(data_dir=tmp_path).database_url == f"sqlite:///{tmp_path}/cellway.db"
    assert settings_of(data_dir=tmp_path).mark_file.parent == tmp_path
    named = settings_of(data_dir=tmp_path, database_url="sqlite:///x.db")
    assert named.database_url == "sqlite:///x.db"
