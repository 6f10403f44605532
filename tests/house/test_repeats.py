"""The detector of repeats finds what it should, and leaves alone what only looks alike."""

from __future__ import annotations

import re

import pytest

from tests.house.repeats import find_repeats

ORIGINAL = '''
def total(orders, rate):
    """The sum of the orders."""
    result = 0
    for order in orders:
        if order.price > rate:
            result += order.price * 2
        else:
            result -= order.count
    print("total", result)
    return result
'''


def renamed(text: str, **names: str) -> str:
    """The text with other names."""
    return re.sub(r"\w+", lambda match: names.get(match[0], match[0]), text)


def found(first: str, second: str) -> list[str]:
    """What two files have in common."""
    return [str(one) for one in find_repeats({"a.py": first, "b.py": second})]


def test_identical_lines_are_found_whatever_stands_between_them() -> None:
    other = "import os\n\n" + ORIGINAL.replace("    print", "    # a comment\n\n    print")
    assert found(ORIGINAL, other) == ["a.py:2-11 ~ b.py:4-15"]


def test_a_renamed_copy_is_found() -> None:
    other = renamed(ORIGINAL, total="rest", orders="rows", order="row", result="left", price="size")
    assert found(ORIGINAL, other.replace('"total"', '"rest"').replace("* 2", "* 3")) == [
        "a.py:2-11 ~ b.py:2-11"
    ]


def test_a_copy_in_the_same_file_is_found() -> None:
    assert len(find_repeats({"a.py": ORIGINAL + renamed(ORIGINAL, total="again")})) == 1


def test_all_places_of_a_run_are_shown_together() -> None:
    (one,) = find_repeats({f"{name}.py": ORIGINAL for name in "abc"})
    assert [place.path for place in one.places] == ["a.py", "b.py", "c.py"]


def test_lines_of_one_shape_that_use_their_names_otherwise_are_no_copy() -> None:
    other = ORIGINAL.replace("result += order.price * 2", "rate += result.count * 2")
    assert found(ORIGINAL, other.replace("return result", "return rate")) == []


def test_seven_lines_are_no_run() -> None:
    seven = "".join(ORIGINAL.splitlines(keepends=True)[3:10])
    assert found(f"def f():\n{seven}", f"def g():\n    x = 1\n{seven}") == []


FIELDS = "\n".join(f"    {name}: int" for name in "abcdefghij")
ARGUMENTS = "\n".join(f"    {name}={name}," for name in "abcdefghij")
CASES = "\n".join(f'    ("{name}", 1),' for name in "abcdefghij")
CONSTANTS = "".join(f'NAME_{name.upper()} = "{name}"\n' for name in "abcdefghij")


@pytest.mark.parametrize(
    "text",
    [
        f"class One:\n{FIELDS}\n",
        f"one(\n{ARGUMENTS}\n)\n",
        f"ONE = [\n{CASES}\n]\n",
        f"@pytest.mark.parametrize('one', [\n{CASES}\n])\ndef test_one(one): ...\n",
        CONSTANTS,
    ],
    ids=["fields", "arguments", "a table", "cases", "constants"],
)
def test_declarations_and_tables_look_alike_and_are_none(text: str) -> None:
    other = renamed(text, **{name: name * 2 for name in "abcdefghij"}, one="two", One="Two")
    assert found(text, other.replace('"', "'").replace("1", "2")) == []


def test_the_same_table_in_two_files_is_found() -> None:
    assert len(found(f"ONE = [\n{CASES}\n]\n", f"TWO = [\n{CASES}\n]\n")) == 1


def test_docstrings_imports_and_comments_are_passed_over() -> None:
    lines = "\n".join(f"# line {number}" for number in range(10))
    imports = "\n".join(f"import os.path{number}" for number in range(10))
    text = f'"""A module.\n{lines}\n"""\n{imports}\n{lines}\n'
    assert found(text, text) == []
