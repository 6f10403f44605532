"""Builds of the module: what is compiled by what, and what is said when it can't be."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from control_plane.edge_module import build as building
from control_plane.edge_module.compilers import Kind, NoCompiler, Sanitizer, compiler


def without_cc(monkeypatch: pytest.MonkeyPatch, *, zig: bool) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    spec = ModuleSpec("ziglang", None) if zig else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_without_any_compiler_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_cc(monkeypatch, zig=False)
    assert building.main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "install cc (gcc or clang)" in line
    assert "pip install ziglang" in line


def test_the_wheel_ziglang_stands_in_for_cc_and_builds_for_other_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_cc(monkeypatch, zig=True)
    assert compiler(Kind()) == (sys.executable, "-m", "ziglang", "cc")
    assert compiler(Kind(machine="aarch64"))[-1] == "aarch64-linux-gnu.2.28"
    without_cc(monkeypatch, zig=False)
    with pytest.raises(NoCompiler, match="ziglang"):
        compiler(Kind(machine="aarch64"))


def test_what_is_built_once_is_found_again_until_a_flag_or_a_source_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources, cache = tmp_path / "sources", tmp_path / "cache"
    sources.mkdir()
    monkeypatch.setattr(building, "SOURCES", sources)
    (sources / "envoy_one.c").write_text("int one(void); int one(void) { return 1; }\n")
    (sources / "library_two.c").write_text("int two(void); int two(void) { return 2; }\n")
    made = building.build(cache=cache)
    written = made.stat().st_mtime_ns
    assert building.build(cache=cache) == made
    assert made.stat().st_mtime_ns == written
    library = building.build(Kind(library=True), cache=cache)
    assert library != made
    assert [path.name for path in building.sources_of(Kind(library=True))] == ["library_two.c"]
    assert building.build(Kind(sanitizer=Sanitizer.THREADS), cache=cache) not in {made, library}
    (sources / "more.h").write_text("#define MORE 1\n")
    assert building.build(cache=cache) != made


def test_what_the_compiler_refuses_is_told_with_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "SOURCES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "wrong.c").write_text("int wrong(void) { return nothing; }\n")
    assert building.main([]) == 1
    assert "nothing" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_the_module_shows_its_hooks_alone() -> None:
    shown = building.build().read_bytes()
    assert b"envoy_dynamic_module_on_program_init" in shown
    assert b"cw_library_" not in shown


def test_a_build_that_was_cut_off_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "envoy_one.c").write_text("int one(void); int one(void) { return 1; }\n")
    monkeypatch.setattr(building, "SOURCES", tmp_path)
    made = building.build(cache=tmp_path)
    whole = made.read_bytes()
    for share in (0, len(whole) // 2):
        made.write_bytes(whole[:share])
        assert len(building.build(cache=tmp_path).read_bytes()) == len(whole)


def test_a_cache_that_takes_no_files_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cellway").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert building.main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "cellway") in line
