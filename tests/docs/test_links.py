"""Pages name only files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)]*))?\)")
FOLDERS = "addons|bench|control_plane|deploy|docs|envoy|proto|rulesets|tests"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]+)`")
ELSEWHERE = frozenset({"bench/results/latest.json", "control_plane/_shipped/", "envoy/envoy.lock"})
"""What a benchmark writes, a folder of the wheel, and a file in the data directory of `cellway up`."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_this_repository_that_a_page_names_exist(page: Path) -> None:
    named = set(PATH.findall(page.read_text())) - ELSEWHERE
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
