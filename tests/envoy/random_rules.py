"""Random rulesets, and random requests that come in families.

The regexes have every shape that is easily misread: alternatives at the top, slashes in classes and
as escapes, flags, repetitions, groups that look as if they were something else. Requests of one
family differ in one place: after a slash of the path, in a header, or in the query. Two of them may
share a cache key though a rule tells them apart, which is what the tests look for. Most paths are
made of what the rules ask for, so that rules often match.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

_SEGMENTS = ("x", "y", "x1", "z", "xy", "x.y", "%2Fx", "%C3%A9", "(", "A", "1")
_STEPS = (
    ("/x", "/x"), ("/x", "/x"), ("/y", "/y"), ("/y", "/y"), ("/x(?:1)?", "/x"), ("/y(?:1)?", "/y"),
    ("/[^/]+", "/xy"), ("/[^/]+", "/z"), ("/x?", "/"), (r"/\S", "/x"), (r"/y(?:\S)", "/y1"), (r"/x\(", "/x("),
)  # fmt: skip
"""Steps of a regex, each with an example of what it matches."""
_ATOMS = (
    "x", "y", "1", "a", "/x", "/y", "/", "/", "/deep", "/z", ".", "[^/]", "[^x]", r"\d", r"\w",
    "[xy]", "[!-~]", "[^(?<a>-~]", "[(?:-/]", "[^]/]", "[^-/]", r"[\x2f]", r"\x2f", r"\057", r"\S", r"\D", r"\C",
    r"\Q/\E", r"\b", r"\B", "(?:1)", "(?:/|y)", "(?:x|/y)", "(?:)", r"\(", r"\pL", "[[:alpha:]]", "é",
    "(?i:a)", "(?s:.)", "^", "$", "%", "|", "|^", r"\|", "(?:$)", "(?:^)",
)  # fmt: skip
_REPEATS = ("", "", "", "", "", "*", "+", "?", "*?", "{0}", "{2}", "{0,1}", "{,0}", "{1,}")
_STARTS = ("^/", "^/", "^/x", "^/x(?:1)", "^", "/", "", "(?i)^/", "(?m)^/", r"\A/")
_ENDS = (
    "", "", "$", "(?:/|$)", "(?:/|%2[fF]|$)", r"\z", "/", r"(?:/|(?:\.[^/.]+)?$)", "(?:x/|/y|$)", "(?:/)?",
)  # fmt: skip
_CAPTURED = (
    ("[^/]+", "z"), ("[^/]+", "xy"), ("[^/]+", "y"), ("[^/]*", ""), ("z", "z"), ("[^/]+/[^/]+", "x/y"),
    ("[a-z0-9]+", "1"), ("", ""), (r"\C*", "x"),
)  # fmt: skip
_HEADERS = ("^x-a$", "^(?:x-a|x-b)$", "^(?i)x-b$", "^host$", "^x-.*$", "^cookie$")
_HEADER_VALUES = ("1", "x", "xx", "", "x/y")


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as the edge has it after its own checks."""

    path: str
    query: str | None
    headers: dict[str, str]

    @property
    def target(self) -> str:
        """The path with its query."""
        return self.path if self.query is None else f"{self.path}?{self.query}"


@dataclass(slots=True)
class RandomRules:
    """Two or three rules, of which RE2 may refuse some, and requests for them."""

    choose: random.Random
    rules: list[dict[str, Any]] = field(default_factory=list)
    _examples: list[str] = field(default_factory=lambda: ["/"])
    """Paths, each made for an alternative of some regex."""

    def __post_init__(self) -> None:
        for number in range(self.choose.randint(2, 3)):
            self.rules.append(self._rule(f"r{number}"))

    def request(self) -> Sent:
        """Return the first request of a family."""
        headers = {":method": "GET", ":authority": "x"}
        return self._with_header(Sent(self._path(""), None, headers))

    def neighbour(self, sent: Sent) -> Sent:
        """Return a request that differs from this one in one place."""
        what = self.choose.random()
        if what < 0.8:
            slashes = [at for at, char in enumerate(sent.path) if char == "/"]
            return replace(sent, path=self._path(sent.path[: self.choose.choice(slashes)]))
        if what < 0.9:
            return self._with_header(sent)
        return replace(sent, query=self.choose.choice((None, "", "x", "1", "a=x/y")))

    def _rule(self, name: str) -> dict[str, Any]:
        choose = self.choose
        match = [self._match("km"[at]) for at in range(choose.choice((1, 1, 1, 2)))]
        rule: dict[str, Any] = {"id": name, "match": match}
        if choose.random() < 0.1:
            return rule | {"action": "proxy", "proxy": {"cell": "cell-1"}}
        one, two, fixed = {"one": "${k}"}, {"two": "${m}"}, {"fixed": name}
        claims = choose.choice(([one], [one], [one], [one, two], [fixed]))
        rule |= {"action": "classify", "classify": {"claims": claims}}
        return rule | {"on_unknown": choose.choice(("next",) * 9 + (404,))}

    def _match(self, group: str) -> dict[str, Any]:
        choose = self.choose
        kinds = ("path",) * 20 + ("header", "header", "cookie", "query_string", "host", "method")
        kind = choose.choice(kinds)
        match: dict[str, Any] = {"type": kind}
        if kind == "path":
            match["regexValue"] = self._path_regex(group)
        else:
            match["regexValue"] = choose.choice((f"^(?<{group}>.*)$", f"(?<{group}>x)", "x", "^1"))
        if kind in {"header", "cookie"}:
            names = _HEADERS if kind == "header" else ("^s$", "s", "^(?:s|t)$")
            match["name"] = choose.choice(names)
        if choose.random() < 0.1:
            match["invert"] = True
        return match

    def _path_regex(self, group: str) -> str:
        if self.choose.random() < 0.3:
            self._examples.append("/x/z")
            return f"^/{self.choose.choice('xy')}/(?<{group}>[^/]+)(?:/|$)"
        number = self.choose.choice((1, 2, 2, 3))
        named = self.choose.randrange(number)
        joined = "|".join(self._branch(group if at == named else "") for at in range(number))
        return f"^(?:{joined})" if self.choose.random() < 0.1 else joined

    def _branch(self, group: str) -> str:
        """Return one alternative, with a group of this name unless that is empty."""
        choose = self.choose
        captured, example = choose.choice(_CAPTURED)
        captured = f"(?<{group}>{captured})" if group else captured
        if choose.random() < 0.2:
            atoms = [choose.choice(_ATOMS) + choose.choice(_REPEATS) for _ in range(3)]
            atoms.insert(choose.randint(0, len(atoms)), captured)
            return choose.choice(_STARTS) + "".join(atoms) + choose.choice(_ENDS)
        steps = [choose.choice(_STEPS) for _ in range(choose.randint(0, 3))]
        steps.insert(choose.randint(0, len(steps)), ("/" + captured, "/" + example))
        self._examples.append("".join(path for _, path in steps))
        return "^" + "".join(regex for regex, _ in steps) + choose.choice(_ENDS)

    def _path(self, start: str) -> str:
        """Return a path that begins with this start, and goes on as an example does."""
        choose = self.choose
        example = choose.choice(self._examples)
        segments = example.split("/")[start.count("/") + 1 :]
        if choose.random() < 0.5 and segments:
            segments[choose.randrange(len(segments))] = choose.choice(_SEGMENTS)
        segments += choose.choices(_SEGMENTS, k=choose.choice((0, 0, 1, 2)))
        return f"{start}/" + "/".join(segments) + choose.choice(("", "", "/", "1"))

    def _with_header(self, sent: Sent) -> Sent:
        name = self.choose.choice(("x-a", "x-b", "cookie", ":authority", ":method"))
        value = self.choose.choice(_HEADER_VALUES)
        if name == "cookie":
            value = f"{self.choose.choice('st')}={value}"
        elif name == ":method":
            value = self.choose.choice(("GET", "POST", "PUT"))
        elif name == ":authority":
            value = value or "y"
        return replace(sent, headers=sent.headers | {name: value})
