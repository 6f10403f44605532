"""What a wheel and an sdist hold, and whether they can be built again to the same bytes."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

import control_plane
from tests.install.build import ROOT, build, copy_sources, project

NAME = re.compile(r"[\w-]+")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return build("wheel", copy_sources(folder / "source"), folder / "dist")


def files_of_repository() -> set[str]:
    """The files that a wheel should hold, by their paths in it."""
    paths = {
        path.relative_to(ROOT).as_posix()
        for folder in ("control_plane", "addons", "envoy", "rulesets")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    inside = "control_plane/"
    return {path if path.startswith(inside) else f"{inside}_shipped/{path}" for path in paths}


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_a_wheel_holds_every_file_that_cellway_reads_and_takes_one_module_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        lua = archive.read("control_plane/_shipped/envoy/edge_cache.lua")
    assert names == files_of_repository()
    assert lua == (ROOT / "envoy" / "edge_cache.lua").read_bytes()


def test_an_sdist_gives_the_same_wheel_to_the_byte(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", copy_sources(tmp_path / "source"), tmp_path)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    again = build("wheel", source, tmp_path / "dist")
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, again)}
    assert (again.name, len(hashes)) == (wheel.name, 1)


def test_the_version_is_the_same_everywhere(wheel: Path) -> None:
    assert metadata_of(wheel)["Version"] == control_plane.__version__ == project()["version"]


def names_of(requirements: list[str]) -> set[str]:
    """The names of packages, without versions and extras."""
    return {found[0] for text in requirements if (found := NAME.match(text))}


def test_what_a_wheel_asks_for_is_what_developers_install(wheel: Path) -> None:
    lines = (ROOT / "requirements" / "base.in").read_text().splitlines()
    base, extras = project()["dependencies"], project()["optional-dependencies"]
    in_base = [one for name, needs in extras.items() if name != "mitmproxy" for one in needs]
    assert names_of([*base, *in_base]) == names_of(lines)
    assert set(metadata_of(wheel).get_all("Provides-Extra", [])) == set(extras)


def test_every_requirement_has_a_lower_bound_and_no_upper_one() -> None:
    extras = project()["optional-dependencies"].values()
    texts = [*project()["dependencies"], *(text for extra in extras for text in extra)]
    bounded = re.compile(r"[\w-]+(\[[a-z]+\])?>=[\d.]+")
    assert [text for text in texts if not bounded.fullmatch(text)] == []
