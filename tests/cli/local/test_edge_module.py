"""Whether this machine's Envoys get the module, and what an operator is told if not."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.client import Exit, Failure
from control_plane.cli.local import edge_module
from control_plane.cli.local.edge_module import given_module, local_module
from control_plane.edge_module.build import MODULE_FILE, build


@pytest.fixture
def no_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def no_compiler(no_builds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def test_off_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_module, "envoy_version", lambda: pytest.fail("it was asked"))
    assert local_module("off").file is None


def test_auto_takes_what_was_built_and_builds_nothing(no_builds: None, tmp_path: Path) -> None:
    found = local_module("auto")
    assert (found.file, found.directory) == (None, None)
    assert "python -m control_plane.edge_module.build" in found.why_not
    assert not (tmp_path / "cache").exists()


def test_what_was_built_is_taken() -> None:
    file = build()
    for wanted in ("auto", "on"):
        found = local_module(wanted)
        assert (found.file, found.directory, found.why_not) == (file, file.parent, "")


def test_without_a_compiler_on_fails_and_auto_goes_without(no_compiler: None) -> None:
    assert local_module("auto").file is None
    with pytest.raises(Failure, match=r"--edge-module on: .*there is no C compiler") as failed:
        local_module("on")
    assert failed.value.status is Exit.USAGE


@pytest.mark.parametrize("version", ["1.41.0", "1.39.4", ""])
def test_an_envoy_with_which_the_module_was_not_tried_gets_none(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(edge_module, "envoy_version", lambda: version)
    assert "the module is for 1.40.x" in local_module("auto").why_not
    with pytest.raises(Failure, match=r"the module is for 1\.40\.x"):
        local_module("on")


def test_the_file_of_another_machine_is_only_looked_at_by_name(tmp_path: Path) -> None:
    assert given_module("auto") == build().absolute()
    elsewhere = Path("/opt/cellway") / MODULE_FILE
    assert given_module(str(elsewhere)) == elsewhere
    with pytest.raises(Failure, match=f"must be named {MODULE_FILE}"):
        given_module("/opt/cellway/module.so")
    here = tmp_path / MODULE_FILE
    here.write_bytes(b"\x7fELF")
    with pytest.raises(Failure, match="is no shared object"):
        given_module(str(here))
