"""The audit of the pinned packages finds what the extract of advisories knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from requirements import audit


def advisory(*events: dict[str, str], versions: tuple[str, ...] = ()) -> audit.Advisory:
    return audit.Advisory("PYSEC-1", (), "redis", "", versions, (events,) if events else ())


@pytest.mark.parametrize(
    ("version", "affected"),
    [("4.1.9", False), ("4.2.0", True), ("4.3.5", True), ("4.3.6", False), ("4.4.0rc1", False),
     ("4.4.0", True), ("4.4.3", False), ("5.0", False)],
)  # fmt: skip
def test_a_range_holds_from_its_introduction_up_to_its_fix(version: str, affected: bool) -> None:
    one = advisory(
        {"introduced": "4.2.0"}, {"fixed": "4.3.6"}, {"introduced": "4.4.0"}, {"fixed": "4.4.3"}
    )
    assert one.affects(version) is affected


def test_events_count_in_the_order_of_their_versions() -> None:
    one = advisory({"fixed": "2.0"}, {"introduced": "0"})
    assert one.affects("1.0")
    assert not one.affects("2.0")


def test_the_last_affected_version_is_affected() -> None:
    one = advisory({"introduced": "0"}, {"last_affected": "2.0"})
    assert one.affects("2.0")
    assert not one.affects("2.0.1")


def test_a_version_without_a_range_is_affected_if_it_is_listed() -> None:
    assert advisory(versions=("1.0",)).affects("1.0")
    assert not advisory(versions=("1.0",)).affects("1.0.1")


def test_names_are_read_as_the_index_reads_them(tmp_path: Path) -> None:
    pinned = tmp_path / "list.txt"
    pinned.write_text("Typing_Extensions==4.0 \\\n    --hash=sha256:00\nuvloop==1.0 ; os == 'x'\n")
    assert audit.pins(pinned) == {"typing-extensions": "4.0", "uvloop": "1.0"}


def test_what_was_vulnerable_is_found_in_the_extract() -> None:
    _, advisories = audit.read_extract()
    old = {"redis": "4.5.0", "jinja2": "2.10", "mitmproxy": "6.0"}
    assert {"PYSEC-2023-45", "PYSEC-2019-217", "PYSEC-2021-328"} <= {
        one.id for one in audit.found(advisories, old)
    }


def test_no_pinned_package_is_known_to_be_vulnerable() -> None:
    _, advisories = audit.read_extract()
    pinned = audit.pins(*(audit.HERE / name for name in audit.LISTS))
    assert len(pinned) > 100
    assert audit.found(advisories, pinned) == []


def test_every_version_of_the_extract_can_be_compared() -> None:
    _, advisories = audit.read_extract()
    for one in advisories:
        for events in one.ranges:
            for event in events:
                Version(*event.values())
