"""Every route of GitLab's table belongs to what the data says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, ClaimKey, Request, Weighted
from control_plane.routing.rules.lint import lint
from control_plane.routing.rules.parse import parse
from tests.support.cells import cells

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
RULESET = parse((ROOT / "rulesets" / "gitlab.json").read_text())
RESERVED = frozenset((DATA / "gitlab_first_segments.txt").read_text().split())


def belongs_to(template: str, path: str) -> tuple[str, str] | None:
    """What the data's README says of a route: bucket and value, or None for the rest."""
    parts = path.strip("/").split("/")
    wanted = template.strip("/").replace("(/-/jira)", "-/jira").split("/")
    if wanted[0].startswith(("*namespace", ":namespace")):
        return "route", parts[0]
    if wanted[:2] == ["-", "jira"]:
        return "route", parts[2]
    if wanted[0] == "groups" and len(wanted) > 1 and wanted[1].startswith("*"):
        return "route", parts[1]
    if wanted[0] == "users" and len(wanted) > 1 and wanted[1] == ":username":
        return "username", parts[1]
    if wanted[0] == "o" and len(wanted) > 1 and wanted[1] == ":organization_path":
        return "organization_path", parts[1]
    if wanted[0] == "api" and wanted[2:4] in (["projects", ":id"], ["groups", ":id"]):
        return "route", parts[3]
    return None


def routes() -> Iterator[tuple[str, str]]:
    for line in (DATA / "gitlab_routes.tsv").read_text().splitlines()[1:]:
        template, example, dotted, suffix = line.split("\t")
        for path in (example, dotted):
            if path != "-":
                yield template, path
                if suffix == "f":
                    yield template, f"{path}.json"


def asked(path: str) -> list[ClaimKey]:
    """Every claim that is looked up for a path when nobody owns anything."""
    keys: list[ClaimKey] = []

    def nobody(wanted: tuple[ClaimKey, ...]) -> list[None]:
        keys.extend(wanted)
        return [None] * len(wanted)

    decide(RULESET, Request.of(path), cells(), nobody)
    return keys


@pytest.mark.parametrize(("template", "path"), sorted(set(routes())))
def test_a_route_goes_to_its_claim(template: str, path: str) -> None:
    owner = belongs_to(template, path)
    index: Cells = cells()
    if owner is None:
        assert isinstance(
            decide(RULESET, Request.of(path), index, lambda keys: [None] * len(keys)).outcome,
            Weighted,
        )
        return
    last = path.rpartition("/")[2] == owner[1]
    value = owner[1].removesuffix(".json") if last and owner[1].endswith(".json") else owner[1]
    decision = decide(
        RULESET,
        Request.of(path),
        index,
        lambda keys: [2 if k == (owner[0], value) else None for k in keys],
    )
    assert decision.cell == "cell-2", decision


def test_reserved_first_segments_are_never_looked_up_as_routes() -> None:
    for segment in RESERVED:
        for path in (f"/{segment}", f"/{segment}/x/y"):
            assert ("route", segment) not in asked(path), path


def test_a_name_with_a_dot_is_tried_whole_before_its_stem() -> None:
    assert asked("/john.doe") == [
        ("route", "john.doe"),
        ("redirect_route", "john.doe"),
        ("route", "john"),
        ("redirect_route", "john"),
        ("route", "john.doe"),
        ("redirect_route", "john.doe"),
    ]
    assert ("route", "john") not in asked("/john.doe/project")


@pytest.mark.parametrize("name", ["gitlab", "generic", "passthrough", "session_prefix"])
def test_the_shipped_rulesets_have_no_errors(name: str) -> None:
    findings = lint((ROOT / "rulesets" / f"{name}.json").read_text(), cells().all)
    assert [finding for finding in findings if finding.severity == "error"] == []
