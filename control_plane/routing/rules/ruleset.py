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
    """One condition. With ``invert`` it holds when nothing matches, and gives no captures."""

    subject: Subject
    name: Regex | None = None
    value: Regex | None = None
    invert: bool = False
    literal_names: tuple[str, ...] = ()
    """The header's possible names, lower-case, where the name regex is a list of fixed names."""


class TransformKind(enum.StrEnum):
    """How captured text is decoded (names of GitLab's HTTP Router)."""

    ROUTABLE_TOKEN_PAYLOAD = "routable-token-payload"  # noqa: S105 - a transform, no secret
    ROUTABLE_JSON = "routable-json"
    DECODE_BASE64_MATCH = "decode-base64-match"


@dataclass(frozen=True, slots=True)
class Template:
    """Text with ``${reference}`` parts: a sequence of (is_reference, text)."""

    source: str
    parts: tuple[tuple[bool, str], ...]

    @property
    def references(self) -> tuple[str, ...]:
        """The names that the template needs."""
        return tuple(text for is_reference, text in self.parts if is_reference)

    def render(self, values: dict[str, str]) -> str | None:
        """The text with every reference filled in; None if one is missing or empty."""
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
    """Look the cell up by a key; for claims, by an ordered chain of which the first hit wins."""

    type: ClassifyType
    value: Template | None = None
    claims: tuple[tuple[str, Template], ...] = ()


@dataclass(frozen=True, slots=True)
class Proxy:
    """Send to a fixed cell (by ``address`` or ``cell``), else by weight."""

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
    """Pick by weight: the given ones, or (None) those of all cells that take new traffic."""

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


MAX_KEPT_CANDIDATES = 1024
"""Sets of path patterns found together whose rules are remembered."""


class _PathPrefilter:
    """One RE2 pass over the path says which rules may match it."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._needs: list[tuple[tuple[int, bool], ...]] = []
        """For each rule: (pattern index, whether it must be found)."""
        self._kept: dict[frozenset[int], tuple[Rule, ...]] = {}
        patterns: list[Regex] = []
        for rule in rules:
            mine: list[tuple[int, bool]] = []
            for match in rule.matches:
                if match.subject is Subject.PATH and match.value is not None:
                    mine.append((len(patterns), not match.invert))
                    patterns.append(match.value)
            self._needs.append(tuple(mine))
        self._set = RegexSet(tuple(patterns))

    def candidates(self, path: bytes) -> tuple[Rule, ...]:
        """In order, the rules that the path alone does not rule out."""
        found = self._set.search(path)
        kept = self._kept.get(found)
        if kept is None:
            kept = tuple(
                rule
                for rule, need in zip(self._rules, self._needs, strict=True)
                if all((index in found) is wanted for index, wanted in need)
            )
            if len(self._kept) >= MAX_KEPT_CANDIDATES:
                self._kept.clear()
            self._kept[found] = kept
        return kept


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
        """In order, the rules that may match a request with this path (without its query)."""
        return self._path_prefilter.candidates(path)
