"""What the service stores is what the edge looks up: any name, at any place of a request."""

from __future__ import annotations

import itertools
import random
import unicodedata
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.topology.values import normalised_or_none
from tests.support.raw_client import RawClient
from tests.support.system import System

OWNER = "cell-3"
BUCKETS = (
    "route", "organization_path", "username", "email", "host", "pages_domain", "project_id",
    "ssh_key_fingerprint", "tenant", "of_our_own",
)  # fmt: skip
PLACES = ("path", "query", "header", "cookie", "host")
HOST = b"service.example"
HOSTS = frozenset({"host", "pages_domain"})
"""The buckets whose names may stand in the request's host."""
CHARACTERS = (
    *[(33, 126)] * 4, (0xA1, 0x250), (0x370, 0x600), (0x900, 0xA00), (0x2000, 0x2100),
    (0x4E00, 0x4F00), (0xFF00, 0xFFE0), (0x1F300, 0x1F600), (0x1D400, 0x1D500),
)  # fmt: skip
"""Ranges of code points: ASCII, letters that combine, joiners, widths, and what is beyond 16 bits."""
COUNT = 25
"""Names of each bucket."""
KNOWN = {
    "email": ["x1@globex.example\u3002", "Ann\u200d@a.example", "क्\u200dष@a.example",
              '"a b"@A.example.', "ann+tag@bücher.example", "İ@i.example"],
    "host": ["Globex.example:8443", "globex2.example.", "[0:0::1]:80", "bücher.example:1",
             "10.0.0.1", "xn--mnchen-3ya.example", "ﬀ.example"],
    "route": ["GitLab-Org", "/acme/", "Ünïcode", "e\u0301cole", "a+b", "a%2Fb", "a b", "ß", "\u017f"],
    "username": ["Σίσυφος", " bob ", "İstanbul", "100%", "a&b=c", "x;y", "q?#", "back\\slash"],
    "tenant": ["a/b", "\u202eabc", "\ufeffbom", "\u2028x", "\u2167"],
}  # fmt: skip


READ = {
    "query": {"type": "query_string", "regexValue": "(?:^|&)v=(?<v>[^&]+)"},
    "header": {"type": "header", "name": "^x-name$", "regexValue": "^(?<v>.+)$"},
    "cookie": {"type": "cookie", "name": "^name$", "regexValue": "^(?<v>.+)$"},
    "host": {"type": "host", "regexValue": "^(?<v>.+)$"},
}
"""By place, the match that reads a name there; in a path it is the last segment."""


def ruleset() -> dict[str, Any]:
    """Return rules that read each bucket at each place; the path says which one is meant."""
    rules = []
    for bucket, place in itertools.product(BUCKETS, PLACES):
        end = "$" if place in READ else "/(?<v>[^/]+)$"
        path = {"type": "path", "regexValue": f"^/{place}/{bucket}{end}"}
        rules.append(
            {
                "id": f"{place}.{bucket}",
                "match": [path, READ[place]] if place in READ else path,
                "action": "classify",
                "classify": {"claims": [{bucket: "${v}"}]},
                "on_unknown": {"status": 404},
            }
        )
    return {"name": "everywhere", "rules": rules}


def names(bucket: str, choose: random.Random) -> Iterator[str]:
    """Return names in any spelling, no two of which are one."""
    seen: set[str] = set()
    known = list(KNOWN.get(bucket, []))
    while known or len(seen) < COUNT:
        value = known.pop() if known else made_up(bucket, choose)
        normal = normalised_or_none(bucket, value)
        if normal is not None and normal not in seen:
            seen.add(normal)
            yield value


def made_up(bucket: str, choose: random.Random) -> str:
    """Return a value of many kinds of characters, or of a form that the bucket takes."""
    if bucket == "project_id":
        return choose.choice(["", "0", "00"]) + str(choose.randint(1, 2**63))
    domain = f"{label(choose)}.Example"
    if bucket in HOSTS:
        return domain + choose.choice(["", ".", ":443"])
    ranges = [choose.choice(CHARACTERS) for _ in range(choose.randint(1, 12))]
    text = "".join(chr(choose.randint(first, last)) for first, last in ranges)
    return f"{text}@{domain}" if bucket == "email" else text


def label(choose: random.Random) -> str:
    return "".join(choose.choices("abcäöüßéπ日本\uff21\uff22\uff11-x", k=choose.randint(1, 9)))


def request(
    place: str, bucket: str, value: str
) -> tuple[bytes, bytes, list[tuple[str, bytes]]] | None:
    """Return target, host and headers that carry a name; None where HTTP has no form for it."""
    target = f"/{place}/{bucket}".encode()
    quoted = urllib.parse.quote(value, safe="").encode()
    raw = value.encode()
    if place == "path":
        return None if value in {".", ".."} else (target + b"/" + quoted, HOST, [])
    if place == "query":
        return target + b"?a=1&v=" + quoted + b"&z=", HOST, []
    if place == "host" and bucket not in HOSTS:
        return None
    if place == "host":
        spelled = value if value.isascii() else normalised_or_none("host", value)
        name = spelled.encode() if spelled is not None and spelled.isascii() else b"/"
        return None if set(name) & set(b'/?#@\\"<>^`{|} %') else (target, name, [])
    if value.strip(" \t") != value or not is_field_text(value):
        return None
    if place == "header":
        return target, HOST, [("x-name", raw)]
    return None if ";" in value else (target, HOST, [("cookie", b"a=b; name=" + raw)])


def is_field_text(value: str) -> bool:
    return all(unicodedata.category(char) != "Cc" for char in value)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("spellings"), classifier_workers=1) as running:
        running.add_cells()
        running.use_ruleset(ruleset())
        yield running


def test_every_claimed_name_is_found_wherever_a_request_has_it(system: System) -> None:
    choose = random.Random(29)
    lost = []
    asked = dict.fromkeys(PLACES, 0)
    with RawClient(system.edge_port) as client:
        for bucket in BUCKETS:
            values = list(names(bucket, choose))
            system.claim(OWNER, *(f"{bucket}:{value}" for value in values))
            for value, place in itertools.product(values, PLACES):
                carried = request(place, bucket, value)
                if carried is not None:
                    target, host, headers = carried
                    status, answered, _ = client.ask(target, headers, host=host)
                    asked[place] += 1
                    if (status, answered.get("x-example-cell")) != (200, OWNER):
                        lost.append((bucket, place, value, status))
    assert lost == []
    assert min(asked.values()) > COUNT, asked
