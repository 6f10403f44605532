"""ADRs and migrations are numbered without gaps, and every ADR is in the index."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ADRS = ROOT / "docs" / "adr"
MIGRATIONS = ROOT / "control_plane" / "topology" / "migrations" / "versions"
VERBS = frozenset(
    ("add", "change", "create", "drop", "fill", "index", "merge", "move", "remove", "rename",
     "replace", "respell", "split", "widen")
)  # fmt: skip
LAST_WITH_GAPS = 51
"""Up to this number, each area numbered its ADRs by itself."""
FIRST_WITHOUT_GAPS = 20
"""Migrations before this one were numbered by area too."""
LAST_NOUN = 24
"""Migrations up to this one may be named by a noun: databases exist that have run them."""


def numbers(files: Iterable[Path]) -> list[int]:
    return sorted(int(path.name[:4]) for path in files)


def adrs() -> list[Path]:
    return sorted(ADRS.glob("[0-9]*.md"))


def migrations() -> list[Path]:
    return sorted(MIGRATIONS.glob("[0-9]*.py"))


def test_every_adr_is_in_the_index_exactly_once() -> None:
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\)", (ADRS / "README.md").read_text(), re.MULTILINE)
    assert sorted(target for _, target in rows) == [path.name for path in adrs()]
    assert [number for number, target in rows if not target.startswith(f"{number}-")] == []


@pytest.mark.parametrize("page", adrs(), ids=lambda page: page.name)
def test_an_adr_opens_with_its_own_number(page: Path) -> None:
    assert page.read_text().startswith(f"# {int(page.name[:4])}. ")


def test_the_index_names_the_next_free_number() -> None:
    (stated,) = re.findall(r"the next is (\d{4})", (ADRS / "README.md").read_text())
    assert int(stated) == numbers(adrs())[-1] + 1


@pytest.mark.parametrize(
    ("files", "first"),
    [(adrs(), LAST_WITH_GAPS), (migrations(), FIRST_WITHOUT_GAPS)],
    ids=["ADRs", "migrations"],
)
def test_numbers_have_no_gaps(files: list[Path], first: int) -> None:
    later = [number for number in numbers(files) if number >= first]
    assert later == list(range(first, first + len(later)))


def test_new_migrations_are_named_by_a_verb() -> None:
    names = [path.stem for path in migrations() if int(path.name[:4]) > LAST_NOUN]
    assert [name for name in names if name.split("_")[1] not in VERBS] == []
