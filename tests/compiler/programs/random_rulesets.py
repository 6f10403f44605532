"""Random rulesets with every kind of match, transform, action and policy, odd ones among them."""

from __future__ import annotations

import random
from typing import Any

_PATHS = (
    "^/(?<a>[^/]+)(?:/|$)", "^/(?<a>[a-z]+)(?<b>[0-9]*)", "/(?<a>x+)(?<b>.*)$", "^/t/(?<a>[^/?]+)", "(?<a>.*)",
    "^/(?:a/(?<a>[^/]+)|b/(?<b>[^/]+))", "^/(?<a>(?<b>[^/.]+)\\.[a-z]+)$", "^/x|y$", "(?i:/ADMIN)(?<a>.)", "[^a]$",
    "^(?:/(?<a>[^/]*))+$", "^/(?<a>[^/]+?)(?<b>[0-9]+)?(?:/|$)", "^/\\d+(?<a>\\w*)", "^(?<a>/.*?)/(?<b>.+)", "^/?$",
    "(?:^|/)(?<a>foo|fo|f)(?<b>o*)", "^/(?<a>a|ab)(?<b>c|bcd)(?:d*)$", "(?<a>[^/]{2,4})/", "\\bfoo\\b", "(?s:.)(?<a>.)",
    "^/\\x66oo", "^/[[:alpha:]]+(?<a>.)", "(?i)^/(?<a>foo)", "^/\\Qfoo\\E", "^/(?<a>(?:[^/%]|%2[fF])+)", "é", "(?m)^/",
)  # fmt: skip
_QUERIES = (
    "(?:^|&)a=(?<a>[^&]*)", "(?:^|&)a=(?<a>[^&]+)&b=(?<b>[^&]+)", "^$", "(?<a>x)?", "t=(?<a>[0-9A-Za-z_.:=+%-]+)",
)  # fmt: skip
_VALUES = (
    "^(?<a>.+)$", "^(?<a>[a-z0-9-]+)-(?<b>.*)", "(?<a>x)", "^(?<a>[^,]*)", "^$", "(?<a>[0-9A-Za-z_.:=+/%-]{3,})$",
    "^(?i:bearer) +(?<a>.+)$", "^(?<a>cell-[0-9]+)", "", "^(?<a>a*)(?<b>b*)$",
)  # fmt: skip
_HEADERS = (
    "^x-a$", "^(?:x-a|x-b)$", "^(?i)X-B$", "^authorization$", "^x-.*$", "^cookie$", "^host$", "^(?:x-c|host)$",
    "^content-length$", "^te$",
)  # fmt: skip
_COOKIES = ("^s$", "^(?:s|t)$", "s", "^(?<b>s)$", "^$", "(?i)^S$", "^s_?[0-9a-f]*$")
_METHODS = ("^GET$", "^(?:GET|HEAD)$", "^P", "(?<a>.+)")
_HOSTS = (
    "^(?<a>[^:]+)$",
    "^(?<a>[a-z]+)\\.example\\.com$",
    "EXAMPLE",
    "^(?<a>[^.]+)\\.(?<b>.+)$",
    "^\\[(?<a>.*)\\]$",
)
_REGEXES = {
    "path": _PATHS, "query_string": _QUERIES, "header": _VALUES, "cookie": _VALUES, "method": _METHODS, "host": _HOSTS,
}  # fmt: skip
_KINDS = ("path",) * 6 + ("query_string", "header", "header", "cookie", "cookie", "method", "host")
_TEMPLATES = (
    "${a}", "${a}", "${a}", "${b}", "${a}${b}", "x-${a}", "${b}/${a}", "fixed", "${a}@example.com", "${d.c}", "${d.o}",
    "${d.a}", "cell-${a}", "é${a}", "1",
)  # fmt: skip
_BUCKETS = (
    "route", "redirect_route", "username", "email", "host", "project_id", "ssh_key", "tenant", "of_our_own",
)  # fmt: skip
_POLICIES = (
    "next", "next", "next", 404, 503, {"cell": "cell-2"}, {"cell": "cell-6"}, {"cell": "nobody"}, "weighted",
    {"weighted": {"cell-1": 1, "cell-6": 1}}, {"weighted": {"cell-6": 1}},
)  # fmt: skip
_PROXIES: tuple[dict[str, Any], ...] = (
    {}, {"proxy": {"cell": "cell-3"}}, {"proxy": {"cell": "cell-6"}}, {"proxy": {"address": "cell-2.example.com"}},
    {"proxy": {"weighted": {"cell-1": 1, "cell-2": 0}}}, {"proxy": {"weighted": {"cell-6": 1}}},
)  # fmt: skip
_TRANSFORMS = ("routable-token-payload", "routable-json", "decode-base64-match")
_DECODED = ("^(?<c>[0-9]+)", "(?<a>.*):(?<o>.*)", "^(?:[^:]*:)?(?<a>.+)$")
_POLICY_FIELDS = ("on_unknown", "on_cell_down", "on_invalid")


def random_ruleset(choose: random.Random) -> dict[str, Any]:
    """Return a ruleset of up to six rules. RE2 takes all its regexes."""
    rules = [_rule(choose, f"r{number}") for number in range(choose.randint(1, 6))]
    for place in range(1, len(rules)):
        if choose.random() < 0.25:
            # As the rules for a token's cell and for its organization.
            before = rules[place - 1]
            rules[place] |= {key: before[key] for key in ("match", "transform") if key in before}
    return {"name": "random", "rules": rules}


def _rule(choose: random.Random, name: str) -> dict[str, Any]:
    matches = [_match(choose) for _ in range(choose.choice((0, 1, 1, 1, 2, 2, 3)))]
    rule: dict[str, Any] = {"id": name, "match": matches}
    if choose.random() < 0.35:
        rule["transform"] = [_transform(choose, text) for text in _inputs(choose)]
    if choose.random() < 0.2:
        rule["validate"] = {"exist": choose.sample(("a", "b", "d.c", "d.o"), choose.randint(1, 2))}
    rule |= {field: choose.choice(_POLICIES) for field in _POLICY_FIELDS if choose.random() < 0.6}
    return rule | _action(choose)


def _inputs(choose: random.Random) -> list[str]:
    return choose.choice((["${a}"], ["${a}"], ["${b}"], ["${a}", "${d.a}"], ["x${a}"]))


def _transform(choose: random.Random, text: str) -> dict[str, Any]:
    kind = choose.choice(_TRANSFORMS)
    more = {"regexValue": choose.choice(_DECODED)} if kind == _TRANSFORMS[-1] else {}
    return {"type": kind, "input": [text], "output": "d"} | more


def _action(choose: random.Random) -> dict[str, Any]:
    roll = choose.random()
    if roll < 0.15:
        return {"action": "proxy"} | choose.choice(_PROXIES)
    if roll < 0.2:
        return {"action": "classify", "classify": {"type": "FIRST_CELL"}}
    if roll < 0.45:
        kind = choose.choice(("SESSION_PREFIX", "CELL_ID"))
        return {
            "action": "classify",
            "classify": {"type": kind, "value": choose.choice(_TEMPLATES)},
        }
    claims = [
        {choose.choice(_BUCKETS): choose.choice(_TEMPLATES)}
        for _ in range(choose.choice((1, 1, 2, 3)))
    ]
    return {"action": "classify", "classify": {"claims": claims}}


def _match(choose: random.Random) -> dict[str, Any]:
    kind = choose.choice(_KINDS)
    match: dict[str, Any] = {"type": kind}
    if kind in {"header", "cookie"}:
        match["name"] = choose.choice(_HEADERS if kind == "header" else _COOKIES)
    if kind not in {"header", "cookie"} or choose.random() < 0.9:
        match["regexValue"] = choose.choice(_REGEXES[kind])
    if choose.random() < 0.12:
        match["invert"] = True
    return match
