"""What is printed: data in three formats, tables that lose nothing, messages beside them."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from rich.console import Console

from control_plane.cli.output import Format, plain, show, table_of, table_of_items

DATA = {"cell": "ünïcode", "weight": 7, "label": None}


def test_data_is_printed_as_json_and_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    show(DATA, Format.JSON)
    assert json.loads(capsys.readouterr().out) == DATA
    show(DATA, Format.YAML)
    as_yaml = capsys.readouterr().out
    assert yaml.safe_load(as_yaml) == DATA
    assert "ünïcode" in as_yaml


def test_a_table_is_printed_where_there_is_one_and_yaml_where_there_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show([DATA], Format.TABLE, table_of_items({"CELL": "cell", "LABEL": "label"}, [DATA]))
    heading, row = capsys.readouterr().out.splitlines()
    assert (heading.split(), row.split()) == (["CELL", "LABEL"], ["ünïcode"])
    show(DATA, Format.TABLE)
    assert yaml.safe_load(capsys.readouterr().out) == DATA


def test_a_row_is_one_line_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    row = [f"10.0.0.{number}:443 cannot bind" for number in range(9)]
    show(row, Format.TABLE, table_of([f"COLUMN {number}" for number in range(9)], [row]))
    _, line = capsys.readouterr().out.splitlines()
    assert line.split("  ") == row


def test_a_long_word_goes_on_in_the_next_line() -> None:
    written = io.StringIO()
    Console(file=written, width=12).print(table_of(["ERROR"], [["cannot bind 127.0.0.1:22321"]]))
    assert "".join(written.getvalue().split()) == "ERRORcannotbind127.0.0.1:22321"


def test_brackets_in_a_table_are_no_markup() -> None:
    written = io.StringIO()
    Console(file=written, width=40).print(table_of(["ADDRESS"], [["[::1]:80 [red]"]]))
    assert "[::1]:80 [red]" in written.getvalue()


def test_a_value_in_a_line_is_text_or_json() -> None:
    assert (plain("c1"), plain({"status": 503})) == ("c1", '{"status": 503}')
