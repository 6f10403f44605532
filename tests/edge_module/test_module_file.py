"""What can't be the module is found out before an Envoy loads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.edge_module.build import MODULE_FILE, build
from control_plane.edge_module.module_file import why_unusable


def changed(directory: Path, content: bytes) -> str:
    file = directory / MODULE_FILE
    file.write_bytes(content)
    return why_unusable(file)


def test_the_module_is_usable_and_another_name_is_not(tmp_path: Path) -> None:
    assert why_unusable(build()) == ""
    other = tmp_path / "other.so"
    other.write_bytes(build().read_bytes())
    assert "must be named" in why_unusable(other)


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_told(tmp_path: Path, share: float) -> None:
    whole = build().read_bytes()
    why = changed(tmp_path, whole[: int(len(whole) * share)])
    assert "cut off" in why or "no shared object" in why


def test_other_files_are_told(tmp_path: Path) -> None:
    whole = build().read_bytes()
    assert "can't be read" in why_unusable(tmp_path / MODULE_FILE)
    assert "no shared object for Linux" in changed(tmp_path, b"#!/bin/sh\n" + bytes(100))
    # The processor stands in bytes 18 and 19.
    assert "another processor" in changed(tmp_path, whole[:18] + b"\x08\x00" + whole[20:])
    entry = b"envoy_dynamic_module_on_program_init"
    assert "no module of Envoy" in changed(tmp_path, whole.replace(entry, b"x" * len(entry)))
