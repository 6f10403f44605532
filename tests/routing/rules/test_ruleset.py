"""Rules that the path alone rules out are passed over, and no others."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.routing.matching import Subjects, match_failure
from control_plane.routing.model import Request
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.ruleset import (
    MAX_CANDIDATE_LISTS,
    Policies,
    Subject,
    Template,
    UseStatus,
)

matches = st.lists(
    st.builds(
        lambda kind, regex, invert: {"type": kind, "regexValue": regex, "invert": invert},
        st.sampled_from(["path", "path", "method"]),
        st.sampled_from(["^/a", "b", "/$", "^/[ab]+$", "^GET$", ""]),
        st.booleans(),
    ),
    max_size=3,
)
rulesets = st.lists(matches, min_size=1, max_size=5).map(
    lambda many: parse(
        [{"id": f"r{at}", "action": "proxy", "match": one} for at, one in enumerate(many)]
    )
)


@given(rulesets, st.lists(st.text("ab/", max_size=4), max_size=4))
@settings(max_examples=300, deadline=None)
def test_candidates_are_the_rules_whose_path_matches_hold(ruleset: Any, paths: list[str]) -> None:
    for path in paths:
        subjects = Subjects(Request.of(f"/{path}"))
        expected = [
            rule
            for rule in ruleset.rules
            if all(
                match_failure(match, subjects, {}) is None
                for match in rule.matches
                if match.subject is Subject.PATH
            )
        ]
        assert list(ruleset.candidates(subjects.path)) == expected


def test_strangers_paths_fill_no_memory() -> None:
    rules = [
        {"id": f"r{at}", "action": "proxy", "match": {"type": "path", "regexValue": f"[{char}]"}}
        for at, char in enumerate("abcdefghijkl")
    ]
    ruleset = parse(json.dumps(rules))
    for number in range(2 * MAX_CANDIDATE_LISTS):
        path = "".join(char for at, char in enumerate("abcdefghijkl") if number >> at & 1)
        names = [rule.id for rule in ruleset.candidates(path.encode())]
        assert names == [f"r{at}" for at in range(12) if number >> at & 1]
    assert len(ruleset._path_prefilter._candidates) <= MAX_CANDIDATE_LISTS


def test_a_template_needs_all_its_references() -> None:
    template = Template("a-${b}-${c}", ((False, "a-"), (True, "b"), (False, "-"), (True, "c")))
    assert template.references == ("b", "c")
    assert template.render({"b": "1", "c": "2"}) == "a-1-2"
    assert template.render({"b": "1", "c": ""}) is None
    assert template.render({"b": "1"}) is None


def test_all_policies_are_listed() -> None:
    policies = Policies(*(UseStatus(code) for code in (401, 402, 403, 404)))
    assert policies.all == tuple(UseStatus(code) for code in (401, 402, 403, 404))
