"""Doubled constants are seen, on small trees."""

from __future__ import annotations

import pytest

from tests.house.constants import doubled_constants, doubled_wire_names


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("LIMIT = 10", "LIMIT = 10"),
        ("_LIMIT = 10", "LIMIT: Final = 10"),
        ("LIMIT = 64 * 1024", "LIMIT = 64 * 1024"),
        ("NAMES = ('a', 'b')", "NAMES = ('a', 'b')"),
    ],
)
def test_a_constant_that_two_modules_define_is_doubled(first: str, second: str) -> None:
    (one,) = doubled_constants({"a.py": first, "b.py": second})
    assert one.paths == ("a.py", "b.py")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("LIMIT = 10", "LIMIT = 20"),
        ("LIMIT = 10", "from a import LIMIT"),
        ("LIMIT = 10", "MOST = 10"),
        ("log = 1", "log = 1"),
        ("LOG = logger(1)", "LOG = logger(1)"),
    ],
)
def test_other_values_names_and_calls_are_not(first: str, second: str) -> None:
    assert doubled_constants({"a.py": first, "b.py": second}) == []


@pytest.mark.parametrize("text", ["x = 'x-cellway-cell'", "f(a, 'x-cellway-cell')"])
def test_a_header_that_two_modules_spell_out_is_doubled(text: str) -> None:
    (one,) = doubled_wire_names({"a.py": text, "b.py": "HEADER = 'x-cellway-cell'"})
    assert one.what == "'x-cellway-cell'"


def test_a_type_url_inside_an_f_string_is_seen() -> None:
    text = "f'type.googleapis.com/envoy.{name}'"
    assert len(doubled_wire_names({"a.py": text, "b.py": text})) == 1


def test_a_docstring_may_name_a_header() -> None:
    text = '"""x-cellway-cell says which."""'
    assert doubled_wire_names({"a.py": text, "b.py": text}) == []


def test_one_module_may_spell_a_header_as_often_as_it_likes() -> None:
    assert doubled_wire_names({"a.py": "A = 'x-cellway-cell'\nB = 'x-cellway-cell'"}) == []
