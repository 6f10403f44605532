"""What moves of tenants say of requests for the claims that they hold.

A move that freezes a tenant refuses some of its requests (usually what writes) and lets others
through to the cell that still owns its claims. A move that rehearses sends test users to the cell
that will own them. Both depend on the request, so the evaluator asks the hold for each one.

For example, a move from cell 1 to cell 2 that refuses ``{"methods": ["POST"]}`` and allows
``{"path": "^/users/sign_in"}``::

    GET  /acme/app        cell 1
    POST /acme/app        refused: 503
    POST /users/sign_in   cell 1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from control_plane.routing.matching import Subjects
from control_plane.routing.model import Request
from control_plane.routing.model.cells import Held
from control_plane.routing.rules.regex import Regex

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""The methods that read (RFC 9110 section 9.2.1)."""


class Selector(Protocol):
    """Which requests are meant; `topology.values.hold.Selector` has these attributes."""

    @property
    def methods(self) -> Sequence[str]: ...
    @property
    def path(self) -> str | None: ...
    @property
    def rule(self) -> str | None: ...


class Freeze(Protocol):
    """What is refused; `topology.values.hold.Freeze` has these attributes."""

    @property
    def refuse(self) -> Sequence[Selector] | None: ...
    @property
    def allow(self) -> Sequence[Selector]: ...


class PreviewUser(Protocol):
    """Who tests; `topology.values.hold.PreviewUser` has these attributes."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> str: ...


class Hold(Protocol):
    """What a move says; `topology.values.hold.Hold` has these attributes."""

    @property
    def number(self) -> int: ...
    @property
    def source_id(self) -> int: ...
    @property
    def target_id(self) -> int: ...
    @property
    def freeze(self) -> Freeze | None: ...
    @property
    def testers(self) -> Sequence[PreviewUser]: ...


def by_owner(holds: Iterable[Hold]) -> Mapping[int, Held]:
    """Return holds as `Cells` takes them: by what look-ups answer with, minus their number."""
    return MappingProxyType({-hold.number: HeldClaims(hold) for hold in holds})


class HeldClaims:
    """A hold whose regexes are compiled."""

    def __init__(self, hold: Hold) -> None:
        """Compile a hold.

        Raises:
            RegexError: a selector's path is none; the API refuses to store such a one.
        """
        self._source_id = hold.source_id
        self._target_id = hold.target_id
        self._frozen = hold.freeze is not None
        refuse = hold.freeze.refuse if hold.freeze is not None else ()
        self._writes = refuse is None
        self._refuse = tuple(map(_Selector, refuse or ()))
        self._allow = tuple(map(_Selector, hold.freeze.allow if hold.freeze is not None else ()))
        self._testers = tuple(hold.testers)

    def cell_for(self, rule: str, request: Request) -> int | None:
        """Return the id of the cell that gets a request; None: it is refused for now."""
        subjects = Subjects(request)
        if any(_tests(tester, subjects) for tester in self._testers):
            return self._target_id
        return None if self._frozen and self._refuses(rule, subjects) else self._source_id

    def _refuses(self, rule: str, subjects: Subjects) -> bool:
        if any(one.fits(rule, subjects) for one in self._allow):
            return False
        if self._writes:
            return subjects.request.method not in SAFE_METHODS
        return any(one.fits(rule, subjects) for one in self._refuse)


class _Selector:
    def __init__(self, selector: Selector) -> None:
        self._methods = frozenset(selector.methods)
        self._path = None if selector.path is None else Regex(selector.path)
        self._rule = selector.rule

    def fits(self, rule: str, subjects: Subjects) -> bool:
        return (
            (not self._methods or subjects.request.method in self._methods)
            and (self._rule is None or self._rule == rule)
            and (self._path is None or self._path.matches(subjects.path))
        )


def _tests(tester: PreviewUser, subjects: Subjects) -> bool:
    value = tester.value.encode()
    if tester.kind == "cookie":
        return (tester.name.encode(), value) in subjects.cookies
    return subjects.headers.get(tester.name.lower()) == value
