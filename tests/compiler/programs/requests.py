"""Requests made for a rule, plain ones and ones that differ from them in a few places.

A request is its header fields as Envoy's matcher shows them: ``:path`` and such among them.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Mapping, Sequence

from control_plane.compiler.programs.looks import pattern_text
from control_plane.routing.model import Request
from control_plane.routing.rules.ruleset import (
    Classify,
    Match,
    Rule,
    Subject,
    Template,
    Transform,
    TransformKind,
)
from control_plane.routing.tokens import encode_routable_token, to_base36
from tests.compiler.programs.odd_tokens import base64url, odd_json, odd_token, whole_token
from tests.compiler.programs.samples import Sampler

type Fields = list[tuple[bytes, bytes]]

NAMES: Mapping[str, Sequence[str]] = {
    "email": ("ann@example.com", "b.o+b@x1.example.org"),
    "host": ("acme.example.com", "xn--bcher-kva.example"),
    "pages_domain": ("pages.example.com",),
    **dict.fromkeys(
        ("project_id", "namespace_id", "user_id", "organization_id"),
        ("1", "7", "42", "9", "1234567890123", "9223372036854775807"),
    ),
}
TEXT_NAMES = ("foo", "bar", "acme", "john.doe", "a-b_c", "x", "Old", "gitlab-org", "f.json")
"""Names of all other buckets."""
CELL_NUMBERS = (1, 2, 3, 4, 5, 6, 77)
"""Cells 1 to 5 serve, 6 is down, 77 is not there."""
_EDITS = (
    b"%", b"%2F", b"%2f", b"%41", b"%61", b"%20", b"%00", b"%0a", b"%7f", b"%c3%bc", b"%zz", b"%e9", b"/", b"//",
    b".", b".json", b"?", b"&", b"=", b";", b"; ", b" ", b"\t", b"+", b"-", b"~", b":", b"@", b"0", b"00", b"a",
    b"Z", b"\xc3\xbc", b"\xff", b"\x7f", b'"', b"'", b"cell-1", b"cell-3-", b"glcbt-", b"glpat-", b"_gitlab_session=",
    b"job_token=", b"access_token=", b"Basic ", b"bearer ", b"admin", b"new", b"import", b"42", b"_", b"x" * 40,
)  # fmt: skip


class RequestMaker:
    """Makes requests for rules; the same seed gives the same ones."""

    def __init__(self, seed: int | str) -> None:
        self.choose = random.Random(seed)
        self._sampler = Sampler(self.choose)
        self._odd = False

    def odd(self, rule: Rule) -> Fields:
        """Return a request for the rule, with tokens that may break any of their rules."""
        self._odd = True
        try:
            return self.plain(rule)
        finally:
            self._odd = False

    def plain(self, rule: Rule) -> Fields:
        """Return a request that the rule matches, if its inverted matches allow it."""
        groups = self._groups(rule)
        host = self.choose.choice(("gitlab.example.com", "ACME.example.com:8443", "x.example."))
        path, query, method, cookies = "/", None, "GET", list[str]()
        headers: Fields = []
        for match in rule.matches:
            if match.invert or match.value is None:
                continue
            text = self._sampler.sample(pattern_text(match.value), groups)
            if match.subject is Subject.PATH:
                path = text + self.choose.choice(("", "", "issues/1")) * text.endswith("/")
            elif match.subject is Subject.QUERY:
                query = text
            elif match.subject is Subject.HOST:
                host = text
            elif match.subject is Subject.METHOD:
                method = text
            elif match.subject is Subject.COOKIE:
                cookies.append(f"{self._name(match)}={text}")
            else:
                headers.append((self._name(match).encode(), text.encode()))
        if self.choose.random() < 0.3 and query is None:
            query = self.choose.choice(("", "a=b", "page=2&per_page=20", "x=/foo"))
        if cookies or self.choose.random() < 0.2:
            cookies.insert(self.choose.randint(0, len(cookies)), "preferred_language=en")
            headers.append((b"cookie", "; ".join(cookies).encode()))
        target = path if query is None else f"{path}?{query}"
        lead = [(b":method", method), (b":authority", host), (b":path", target)]
        return [(name, value.encode()) for name, value in lead] + headers

    def mutated(self, fields: Fields, others: Sequence[Fields]) -> Fields:
        """Return a request that differs from this one in one to three places."""
        made = list(fields)
        for _ in range(self.choose.choice((1, 1, 1, 2, 3))):
            place = self.choose.randrange(len(made))
            name, value = made[place]
            roll = self.choose.random()
            if roll < 0.75:
                made[place] = name, self._edited(value)
            elif roll < 0.85:
                made += self.choose.choice(others)[3:]
            elif roll < 0.9:
                made[2] = self.choose.choice(others)[2]
            elif roll < 0.95 and place > 2:
                made.append((name, self._edited(value)))
            elif place > 2:
                del made[place]
        return made

    def _edited(self, value: bytes) -> bytes:
        at = self.choose.randint(0, len(value))
        to = min(len(value), at + self.choose.choice((0, 0, 1, 1, 2, 5)))
        roll = self.choose.random()
        if roll < 0.6:
            return value[:at] + self.choose.choice(_EDITS) + value[to:]
        if roll < 0.75:
            return value[:at] + b"".join(b"%%%02X" % byte for byte in value[at:to]) + value[to:]
        if roll < 0.85:
            return value[:at] + value[at:to].swapcase() + value[to:]
        if roll < 0.95:
            return value[:at] + value[to:]
        return value[:at] + value[at:to] * 2 + value[to:]

    def _name(self, match: Match) -> str:
        assert match.name is not None
        return self._sampler.sample(pattern_text(match.name), {}).lower()

    def _groups(self, rule: Rule) -> dict[str, str]:
        """Return texts for the groups of a rule that a key is made of."""
        groups: dict[str, str] = {}
        if isinstance(rule.action, Classify) and self.choose.random() < 0.8:
            for bucket, template in rule.action.claims:
                if name := _only(template):
                    groups[name] = self.choose.choice(NAMES.get(bucket, TEXT_NAMES))
            if rule.action.value is not None and (name := _only(rule.action.value)):
                prefix = self.choose.choice(("cell-", "cell-", ""))
                groups[name] = f"{prefix}{self.choose.choice(CELL_NUMBERS)}"
        for transform in reversed(rule.transforms):
            name = _only(transform.input)
            if name is not None:
                groups[name] = self._encoded(transform, groups)
        return {name: text for name, text in groups.items() if "." not in name}

    def _encoded(self, transform: Transform, groups: Mapping[str, str]) -> str:
        if transform.kind is TransformKind.ROUTABLE_TOKEN_PAYLOAD:
            return odd_token(self.choose) if self._odd else self.token()
        if transform.kind is TransformKind.ROUTABLE_JSON:
            text = odd_json(self.choose) if self._odd else json.dumps(self._claims())
            return base64url(text.encode())
        assert transform.value is not None
        prefix = f"{transform.output}."
        inner = {name.removeprefix(prefix): text for name, text in groups.items()}
        text = self._sampler.sample(pattern_text(transform.value), inner)
        return base64.b64encode(text.encode()).decode()

    def token(self) -> str:
        """Return a routable token, in one of its layouts."""
        keys = self._routing()
        prefix = self.choose.choice(("glpat-", "glrt-", "acme:", "", "acme-glpat-"))
        random_bytes = self.choose.randbytes(16)
        if self.choose.random() < 0.7:
            return encode_routable_token(prefix, keys, random_bytes)
        text = "\n".join(f"{key}:{to_base36(number)}" for key, number in keys.items()).encode()
        length = bytes([len(text)]) * self.choose.randint(0, 1)
        payload = base64url(text + random_bytes + length)
        return whole_token(prefix, payload)

    def _routing(self) -> dict[str, int]:
        keys = {"c": self.choose.choice(CELL_NUMBERS), "o": self.choose.choice((1, 9, 42))}
        if self.choose.random() < 0.5:
            del keys[self.choose.choice("co")]
        more = self.choose.sample("gput", self.choose.randint(0, 2))
        return keys | {key: self.choose.choice((0, 5, 36**12, 36**13 - 1)) for key in more}

    def _claims(self) -> dict[str, object]:
        claims: dict[str, object] = {key: to_base36(n) for key, n in self._routing().items()}
        others = {"iss": "https://a.example", "iat": 1, "x": [1, {"y": None}], "t": True, "f": 1.5}
        for name in self.choose.sample(sorted(others), self.choose.randint(0, 3)):
            claims[name] = others[name]
        return claims


def _only(template: Template) -> str | None:
    return template.references[0] if len(template.parts) == 1 and template.references else None


_NOT_ASCII = re.compile(rb"%[89a-fA-F][0-9a-fA-F]")
_HOST = re.compile(rb"(?:[A-Za-z0-9_-]+\.)*[A-Za-z_-][A-Za-z0-9_-]*\.?(?::[0-9]+)?")


def is_plain(fields: Fields) -> bool:
    """Return whether nothing decodes to more than ASCII, and the host is a domain."""
    plain = not any(_NOT_ASCII.search(value) for _, value in fields)
    return plain and _HOST.fullmatch(dict(fields)[b":authority"]) is not None


def as_request(fields: Fields) -> Request:
    """Return a request as the evaluator looks at it."""
    named = dict(fields[:3])
    headers = tuple((name.decode("latin-1"), value) for name, value in fields[3:])
    method = named[b":method"].decode("latin-1")
    return Request(method, named[b":authority"], named[b":path"], headers)
