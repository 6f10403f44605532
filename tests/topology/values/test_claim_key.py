"""One spelling per bucket: what is the same name, what is not, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.topology.values import Invalid, normalise

SAME = [
    ("route", "GitLab-Org", "gitlab-org"),
    ("route", "/gitlab-org/", "gitlab-org"),
    ("route", "STRASSE", "stra\u00dfe"),
    ("username", "Ame\u0301lie", "am\u00e9lie"),
    ("email", "Bob@B\u00fccher.Example", "bob@xn--bcher-kva.example"),
    ("email", "bob@example.com.", "bob@example.com"),
    ("host", "WWW.Example.COM.", "www.example.com"),
    ("host", "b\u00fccher.example", "xn--bcher-kva.example"),
    ("project_id", "0042", "42"),
    ("tenant", " Acme ", "acme"),
    ("anything_else", "e\u0301", "\u00e9"),
]
DIFFERENT = [
    ("route", "\u0440aypal", "paypal"),  # a Cyrillic letter is another letter
    ("ssh_key_fingerprint", "aB", "ab"),
    ("anything_else", "A", "a"),
    ("route", "a%2fb", "a/b"),
    ("route", "a.b", "ab"),
]
NONE = [
    ("route", ""),
    ("route", "///"),
    ("route", "a\x00b"),
    ("route", "a" * 1025),
    ("email", "nobody"),
    ("email", "@example.com"),
    ("project_id", "0"),
    ("project_id", "-1"),
    ("project_id", "1e3"),
    ("project_id", "\u0664\u0662"),
    ("project_id", "1" * 20),
    ("route", "\ud800"),
    ("host", "b\u00fccher..example"),
    ("Bad", "x"),
    ("", "x"),
    ("a" * 65, "x"),
]


@pytest.mark.parametrize(("bucket", "one", "other"), SAME)
def test_the_same_name(bucket: str, one: str, other: str) -> None:
    assert normalise(bucket, one) == normalise(bucket, other)


@pytest.mark.parametrize(("bucket", "one", "other"), DIFFERENT)
def test_another_name(bucket: str, one: str, other: str) -> None:
    assert normalise(bucket, one) != normalise(bucket, other)


@pytest.mark.parametrize(("bucket", "value"), NONE)
def test_no_name(bucket: str, value: str) -> None:
    with pytest.raises(Invalid):
        normalise(bucket, value)


@pytest.mark.parametrize(
    ("bucket", "value", "why"),
    [
        ("route", "a\x00b", "holds a NUL character"),
        ("route", "a" * 1025, "1025 bytes after normalisation"),
        ("route", "a" * 1025 + "\x00", "1026 bytes after normalisation"),
        ("route", "//", "0 bytes after normalisation"),
    ],
)
def test_what_is_wrong_is_said(bucket: str, value: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        normalise(bucket, value)


@given(st.sampled_from(["route", "username", "email", "host", "project_id", "other"]), st.text())
def test_normalising_twice_is_normalising_once(bucket: str, value: str) -> None:
    try:
        once = normalise(bucket, value)
    except Invalid:
        return
    assert normalise(bucket, once) == once
