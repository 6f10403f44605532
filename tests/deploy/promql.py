"""Evaluates the part of PromQL that the alerts use, over scrapes that a test has made.

It knows selectors with equality, ranges, ``absent``, ``increase``, ``rate``, ``max_over_time``,
``sum``, ``min`` and ``max`` with ``by``, ``histogram_quantile``, ``+``, ``-``, comparisons with ``ignoring``, ``or`` and
``unless``. Anything else fails. ``increase`` is the plain difference: it is not extrapolated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Scrape = Mapping[tuple[str, Labels], float]
"""The samples of one scrape, by name and labels."""
_TOKEN = re.compile(
    r'\s*(?:(?P<number>\d+(?:\.\d+)?(?:e\d+)?)(?![\w.])|(?P<name>[a-zA-Z_]\w*)|(?P<text>"[^"]*")'
    r"|\[(?P<range>\d+[smh])\]|(?P<sign>==|<=|>=|[-+<>(){},=]))"
)
_UNIT_S = {"s": 1, "m": 60, "h": 3600}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
}
_FOLD: Mapping[str, Callable[[Sequence[float]], float]] = {"sum": sum, "min": min, "max": max}


def seconds(duration: str) -> int:
    """Return the seconds of a duration such as ``5m``."""
    return int(duration[:-1]) * _UNIT_S[duration[-1]]


@dataclass(frozen=True, slots=True)
class History:
    """Scrapes of one target, the oldest first, each with the time in seconds at which it counts."""

    scrapes: Sequence[tuple[float, Scrape]]

    def until(self, at: float) -> History:
        return History([one for one in self.scrapes if one[0] <= at])

    def select(self, name: str, wanted: Labels) -> Vector:
        """Return the newest sample of each series."""
        scrape = self.scrapes[-1][1]
        return {labels: v for (n, labels), v in scrape.items() if n == name and wanted <= labels}

    def increase(self, name: str, wanted: Labels, within_s: int) -> Vector:
        """Return how much each counter has grown within a time."""
        since = self.scrapes[-1][0] - within_s
        inside = [scrape for at, scrape in self.scrapes if at >= since]
        grown: Vector = {}
        for labels in self.select(name, wanted):
            values = [scrape[name, labels] for scrape in inside if (name, labels) in scrape]
            steps = pairwise(values)
            grown[labels] = sum(new - old if new >= old else new for old, new in steps)
        return grown

    def largest(self, name: str, wanted: Labels, within_s: int) -> Vector:
        """Return the largest sample of each series within a time."""
        since = self.scrapes[-1][0] - within_s
        found: Vector = {}
        for at, scrape in self.scrapes:
            for (n, labels), value in scrape.items() if at >= since else ():
                if n == name and wanted <= labels:
                    found[labels] = max(value, found.get(labels, value))
        return found


def evaluate(expression: str, history: History) -> Vector:
    """Return the series for which an expression holds."""
    parser = _Parser(expression, history)
    result = parser.alternatives()
    assert parser.done, f"not understood: {expression}"
    assert isinstance(result, dict)
    return result


class _Parser:
    def __init__(self, expression: str, history: History) -> None:
        self._tokens = list(_tokens(expression))
        self._at = 0
        self._history = history

    @property
    def done(self) -> bool:
        return self._at == len(self._tokens)

    def _peek(self) -> str:
        return "" if self.done else self._tokens[self._at]

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        assert token, "the expression ends too early"
        assert expected in ("", token), f"{token!r} stands where {expected!r} should"
        self._at += 1
        return token

    def _took(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def alternatives(self) -> Vector | float:
        """Read ``a or b`` and ``a unless b``."""
        left = self._comparison()
        while self._peek() in ("or", "unless"):
            word, right = self._take(), self._comparison()
            assert isinstance(left, dict)
            assert isinstance(right, dict)
            if word == "or":
                left = {**right, **left}
            else:
                left = {labels: v for labels, v in left.items() if labels not in right}
        return left

    def _comparison(self) -> Vector | float:
        left = self._sum()
        if self._peek() not in _COMPARE:
            return left
        holds = _COMPARE[self._take()]
        ignored = self._names() if self._took("ignoring") else frozenset()
        right = self._sum()
        assert isinstance(left, dict)
        if isinstance(right, float):
            return {labels: v for labels, v in left.items() if holds(v, right)}
        others = {_without(labels, ignored): v for labels, v in right.items()}
        return {
            labels: v
            for labels, v in left.items()
            if (key := _without(labels, ignored)) in others and holds(v, others[key])
        }

    def _sum(self) -> Vector | float:
        left = self._term()
        while self._peek() in ("+", "-"):
            sign, right = (1 if self._take() == "+" else -1), self._term()
            assert isinstance(left, dict)
            assert isinstance(right, dict)
            left = {
                labels: v + sign * right[labels] for labels, v in left.items() if labels in right
            }
        return left

    def _term(self) -> Vector | float:
        word = self._take()
        if word[0].isdigit():
            return float(word)
        if word in _FOLD:
            return self._folded(_FOLD[word])
        if word == "absent":
            self._take("(")
            inner = self.alternatives()
            self._take(")")
            return {} if inner else {frozenset(): 1.0}
        if word in ("increase", "rate"):
            return self._growth(per_second=word == "rate")
        if word == "max_over_time":
            self._take("(")
            name, wanted = self._take(), self._matchers()
            largest = self._history.largest(name, wanted, seconds(self._take()))
            self._take(")")
            return largest
        if word == "histogram_quantile":
            return self._quantile()
        assert word.startswith("cellway_"), f"{word} is not understood"
        return self._history.select(word, self._matchers())

    def _folded(self, fold: Callable[[Sequence[float]], float]) -> Vector:
        by = self._names() if self._took("by") else frozenset()
        self._take("(")
        inner = self.alternatives()
        self._take(")")
        assert isinstance(inner, dict)
        groups: dict[Labels, list[float]] = {}
        for labels, value in inner.items():
            key = frozenset(one for one in labels if one[0] in by)
            groups.setdefault(key, []).append(value)
        return {labels: fold(values) for labels, values in groups.items()}

    def _growth(self, *, per_second: bool) -> Vector:
        self._take("(")
        name, wanted = self._take(), self._matchers()
        within_s = seconds(self._take())
        self._take(")")
        grown = self._history.increase(name, wanted, within_s)
        return {labels: v / within_s for labels, v in grown.items()} if per_second else grown

    def _quantile(self) -> Vector:
        self._take("(")
        share = float(self._take())
        self._take(",")
        buckets = self.alternatives()
        self._take(")")
        assert isinstance(buckets, dict)
        groups: dict[Labels, list[tuple[float, float]]] = {}
        for labels, value in buckets.items():
            bound = float(dict(labels)["le"])
            groups.setdefault(_without(labels, {"le"}), []).append((bound, value))
        return {
            labels: quantile
            for labels, counts in groups.items()
            if (quantile := _quantile_of(share, sorted(counts))) is not None
        }

    def _matchers(self) -> Labels:
        wanted: set[tuple[str, str]] = set()
        if self._took("{"):
            while not self._took("}"):
                name = self._take()
                self._take("=")
                wanted.add((name, self._take().strip('"')))
                self._took(",")
        return frozenset(wanted)

    def _names(self) -> frozenset[str]:
        self._take("(")
        names: set[str] = set()
        while not self._took(")"):
            names.add(self._take())
            self._took(",")
        return frozenset(names)


def _tokens(expression: str) -> Iterator[str]:
    at = 0
    while expression[at:].strip():
        token = _TOKEN.match(expression, at)
        assert token, f"not understood: {expression[at:]}"
        assert token.lastgroup is not None
        yield token[token.lastgroup]
        at = token.end()


def _without(labels: Labels, names: frozenset[str] | set[str]) -> Labels:
    return frozenset(one for one in labels if one[0] not in names)


def _quantile_of(share: float, counts: Sequence[tuple[float, float]]) -> float | None:
    """Return a quantile of a histogram: the upper bound of the bucket that it falls into."""
    total = counts[-1][1]
    if not total:
        return None
    bounds = [bound for bound, count in counts if count >= share * total]
    finite = [bound for bound, _ in counts if bound != float("inf")]
    return min(bounds[0], max(finite))


def fires(expression: str, hold: str, history: History) -> bool:
    """Return whether an alert that must hold for a time fires at the end of the history."""
    since: dict[Labels, float] = {}
    end = history.scrapes[-1][0]
    for at, _ in history.scrapes:
        held = evaluate(expression, history.until(at))
        since = {labels: since.get(labels, at) for labels in held}
    return any(end - begun >= seconds(hold) for begun in since.values())
