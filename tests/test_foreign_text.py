"""No text of a stranger gives a raw control character in a log, in a table or in a document."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from control_plane.cli.output import Format, Messages, plain, print_lines, show, table_of
from control_plane.foreign_text import MAX_LOGGED_CHARS, LogFormatter, visible

HARMFUL = [
    *map(chr, (0, 7, 8, 9, 10, 11, 13, 27, 127, 0x85, 0x9B, 0x9D, 0x61C, 0x200E, 0x2028, 0x2029)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    "\x1b[2J\x1b]0;title\x07",
]
TEXTS = st.lists(st.one_of(st.sampled_from(HARMFUL), st.characters(), st.text())).map("".join)
ENCODABLE = TEXTS.filter(lambda text: not any("\ud800" <= one <= "\udfff" for one in text))
many = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


def raw(text: str) -> list[str]:
    """The characters that a terminal may obey, or that end a line in some reader."""
    return [
        one
        for one in text
        if unicodedata.category(one) in {"Cc", "Zl", "Zp", "Cs"}
        or unicodedata.bidirectional(one) in {"LRE", "RLE", "LRO", "RLO", "PDF"}
        or unicodedata.bidirectional(one) in {"LRI", "RLI", "FSI", "PDI"}
    ]


def logged(*args: Any, error: Exception | None = None) -> str:
    formatter = LogFormatter("%(levelname)s %(name)s: %(message)s")
    caught = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("xds", logging.ERROR, "f", 1, "%s NACKed: %s", args, caught)
    return formatter.format(record)


@many
@given(TEXTS, TEXTS)
@example("n1\nERROR xds: forged", "\x1b[31m")
def test_a_message_is_one_line_of_a_log(node: str, error: str) -> None:
    assert raw(logged(node, error)) == []


@many
@given(TEXTS)
@example("x\nERROR xds: forged")
def test_no_line_of_a_traceback_looks_like_a_message(text: str) -> None:
    first, *others = logged("n1", "e", error=ValueError(text)).split("\n")
    assert first == "ERROR xds: n1 NACKed: e"
    assert all(line.startswith("  ") and raw(line) == [] for line in others)


def test_a_long_message_is_cut_and_says_so() -> None:
    line = logged("n1", "x" * 8_000_000)
    assert len(line) < MAX_LOGGED_CHARS + 100
    assert line.endswith("… (cut, 8000022 characters)")


def test_text_that_is_visible_stays_as_it_is() -> None:
    for text in ("", "ann", "Zoë Ünïcode 猫 👩‍👧", "C:\\new\\table"):
        assert visible(text) == text


@many
@given(ENCODABLE)
def test_a_table_and_lines_hold_no_raw_character(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    capsys.readouterr()
    show([], Format.TABLE, table_of(["VALUE", "CELL"], [[text, "c1"]]))
    print_lines([plain(text), plain({"value": text}), text])
    assert raw(capsys.readouterr().out.replace("\n", "")) == []


@many
@given(ENCODABLE)
def test_a_message_to_the_operator_holds_no_raw_character(text: str) -> None:
    written = io.StringIO()
    Messages(file=written).print(text, markup=False)
    assert raw(written.getvalue().replace("\n", "")) == []


@many
@given(st.dictionaries(ENCODABLE, ENCODABLE))
def test_documents_hold_the_exact_text_and_no_raw_character(
    capsys: pytest.CaptureFixture[str], data: dict[str, str]
) -> None:
    capsys.readouterr()
    show(data, Format.JSON)
    as_json = capsys.readouterr().out
    assert json.loads(as_json) == data
    show(data, Format.YAML)
    as_yaml = capsys.readouterr().out
    assert yaml.safe_load(as_yaml) == data
    assert raw((as_json + as_yaml).replace("\n", "")) == []
