"""A ruleset as parsed: ordered rules, the first match decides."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import cached_property

from control_plane.routing.rules.regex import Regex, RegexSet


class Subject(enum.StrEnum):
    """The part of a request that a match looks at."""

    HEADER = "header"
    COOKIE = "cookie"
    PATH = "path"
    QUERY = "query_string"
    HOST = "host"
    METHOD = "method"


@dataclass(frozen=True, slots=True)
class Match:
    """One condition on a request; inverted, it holds (without captures) if nothing matches."""

    subject: Subject
    name: Regex | None = None
    value: Regex | None = None
    invert: bool = False
    literal_names: tuple[str, ...] = ()
    """A header's possible names in lower case, if the name regex lists fixed names; else ()."""


class TransformKind(enum.StrEnum):
    """How captured text is decoded (names of GitLab's HTTP Router)."""

    ROUTABLE_TOKEN_PAYLOAD = "routable-token-payload"  # noqa: S105 - a transform, no secret
    ROUTABLE_JSON = "routable-json"
    DECODE_BASE64_MATCH = "decode-base64-match"


@dataclass(frozen=True, slots=True)
class Template:
    """Text with ``${reference}`` parts."""

    source: str
    parts: tuple[tuple[bool, str], ...]
    """(is_reference, text) in order: ``a-${b}`` is ``((False, "a-"), (True, "b"))``."""

    @property
    def references(self) -> tuple[str, ...]:
        """The names that the template needs, in order."""
        return tuple(text for is_reference, text in self.parts if is_reference)

    def render(self, values: dict[str, str]) -> str | None:
        """Return the text with every reference filled in; None if one is missing or empty."""
        rendered: list[str] = []
        for is_reference, text in self.parts:
            if is_reference:
                value = values.get(text)
                if not value:
                    return None
                rendered.append(value)
            else:
                rendered.append(text)
        return "".join(rendered)


@dataclass(frozen=True, slots=True)
class Transform:
    """Decodes ``input`` and stores the result's keys as ``<output>.<key>``."""

    kind: TransformKind
    input: Template
    output: str
    value: Regex | None = None


class ClassifyType(enum.StrEnum):
    """Ways to name a cell (``ClassifyType`` of GitLab's Topology Service, and claims)."""

    FIRST_CELL = "FIRST_CELL"
    SESSION_PREFIX = "SESSION_PREFIX"
    CELL_ID = "CELL_ID"
    CLAIM = "CLAIM"


@dataclass(frozen=True, slots=True)
class Classify:
    """Look the cell up by a key: ``value``, or for CLAIM the first of ``claims`` that has an owner.

    Each claim is a bucket and the template of its value.
    """

    type: ClassifyType
    value: Template | None = None
    claims: tuple[tuple[str, Template], ...] = ()


@dataclass(frozen=True, slots=True)
class Proxy:
    """Send to a fixed cell, by ``cell`` (its name) or ``address``; else by weight."""

    address: str | None = None
    cell: str | None = None
    weights: tuple[tuple[str, int], ...] | None = None

    @property
    def names_cell(self) -> bool:
        """Whether it sends to one fixed cell."""
        return self.cell is not None or self.address is not None


@dataclass(frozen=True, slots=True)
class Next:
    """Go on with the next rule."""


@dataclass(frozen=True, slots=True)
class UseCell:
    """Send to this cell."""

    name: str


@dataclass(frozen=True, slots=True)
class UseWeighted:
    """Pick a cell by weight; None stands for all cells that take new traffic."""

    weights: tuple[tuple[str, int], ...] | None = None


@dataclass(frozen=True, slots=True)
class UseStatus:
    """Refuse with this status."""

    code: int


Policy = Next | UseCell | UseWeighted | UseStatus


@dataclass(frozen=True, slots=True)
class Policies:
    """What a rule does when its answer can't be had."""

    on_unknown: Policy = Next()
    on_classifier_down: Policy = UseStatus(503)
    on_cell_down: Policy = UseStatus(503)
    on_invalid: Policy = Next()

    @property
    def all(self) -> tuple[Policy, ...]:
        """Every policy, in the order of the fields."""
        return self.on_unknown, self.on_classifier_down, self.on_cell_down, self.on_invalid


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: match → transform → validate → action."""

    id: str
    matches: tuple[Match, ...]
    transforms: tuple[Transform, ...]
    required: tuple[str, ...]
    action: Classify | Proxy
    policies: Policies
    stated_policies: frozenset[str] = frozenset()
    """The policies that the author has written down, in the rule or in the ruleset's defaults."""


MAX_CANDIDATE_LISTS = 1024
"""For so many sets of patterns that occur in one path, the rules that are left are remembered."""


class _PathPrefilter:
    """Tells by one RE2 pass over the path which rules may match it.

    Most rules look at the path, and most of them don't match. One pass over the path for all their
    patterns is cheaper than a search for each. For example, patterns 0 and 4 may occur in
    ``/groups/a``. Then a rule that matches pattern 3 is left out, and so is one with the inverted
    match of pattern 4.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._needs: list[tuple[tuple[int, bool], ...]] = []
        """For each rule: (pattern index, whether it must occur)."""
        self._candidates: dict[frozenset[int], tuple[Rule, ...]] = {}
        patterns: list[Regex] = []
        for rule in rules:
            needs: list[tuple[int, bool]] = []
            for match in rule.matches:
                if match.subject is Subject.PATH and match.value is not None:
                    needs.append((len(patterns), not match.invert))
                    patterns.append(match.value)
            self._needs.append(tuple(needs))
        self._set = RegexSet(tuple(patterns))

    def candidates(self, path: bytes) -> tuple[Rule, ...]:
        """Return, in order, the rules that the path alone does not rule out."""
        try:
            occurring = self._set.search(path)
        except MemoryError:
            # Each pattern by itself needs less.
            return self._rules
        candidates = self._candidates.get(occurring)
        if candidates is None:
            candidates = tuple(
                rule
                for rule, needs in zip(self._rules, self._needs, strict=True)
                if all((index in occurring) is wanted for index, wanted in needs)
            )
            if len(self._candidates) >= MAX_CANDIDATE_LISTS:
                self._candidates.clear()
            self._candidates[occurring] = candidates
        return candidates


@dataclass(frozen=True)
class Ruleset:
    """An ordered list of rules under a name."""

    name: str
    rules: tuple[Rule, ...]
    description: str = ""
    digest: str = ""
    """See `rules_digest`."""

    @cached_property
    def _path_prefilter(self) -> _PathPrefilter:
        return _PathPrefilter(self.rules)

    def candidates(self, path: bytes) -> tuple[Rule, ...]:
        """Return, in order, the rules that may match a request with this path, without query."""
        return self._path_prefilter.candidates(path)
