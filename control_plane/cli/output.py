"""Prints data to stdout as a table, JSON or YAML, and messages to stderr."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from control_plane.foreign_text import is_visible, json_text, visible, visible_lines

MAX_WIDTH = 100_000
"""The longest line of a table in a pipe, in characters."""


class Messages(Console):
    """A console that prints what strangers wrote, so that the terminal obeys none of it."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects; in texts, harmful characters are replaced by their escapes."""
        super().print(
            *(visible_lines(one) if isinstance(one, str) else one for one in objects), **options
        )


messages = Messages(stderr=True, highlight=False, soft_wrap=True)
"""Prints everything that is not data."""


class Format(enum.StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def show(data: Any, output: Format, table: Table | None = None) -> None:
    """Print data in a format; ``Format.TABLE`` prints the table, or YAML if there is none."""
    if output is Format.JSON:
        print(as_json(data, indent=2))
    elif output is Format.YAML or table is None:
        print(as_yaml(data), end="")
    else:
        console = Console(highlight=False)
        # FORCE_COLOR makes a pipe a terminal in rich's eyes, and would cut what is read there.
        if not sys.stdout.isatty():
            # What reads a pipe reads lines, so a row is one line there, however long it is.
            unbounded = console.options.update(max_width=MAX_WIDTH)
            console.width = Measurement.get(console, unbounded, table).maximum
        console.print(table)


class _Dumper(yaml.SafeDumper):
    """Writes objects of an answer (a class below dict) as the mappings that they are."""


_Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)


def table_of(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> Table:
    """Return a table without lines; None is an empty field."""
    table = Table(title=title or None, box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # A long word (a path, an address with its port) goes on in the next line, all of it.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(visible(str(cell))) for cell in row))
    return table


def table_of_items(fields: Mapping[str, str], items: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of items, given the field that each column shows: ``{"CELL": "cell"}``."""
    return table_of(tuple(fields), [[item[name] for name in fields.values()] for item in items])


def plain(value: Any) -> str:
    """Return a value in one line: text as it is shown, everything else as JSON."""
    return visible(value) if isinstance(value, str) else as_json(value)


def as_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, in which a terminal finds nothing to obey."""
    return json_text(json.dumps(value, indent=indent, ensure_ascii=False))


def as_yaml(value: Any) -> str:
    """Return a value as YAML, in which a terminal finds nothing to obey."""
    text = str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
    if is_visible(text):
        return text
    # With escapes for all that is not ASCII: YAML can't escape some characters only.
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=False))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines of data to stdout, each as it can be shown."""
    print("\n".join(map(visible, lines)), flush=True)


def say_more(limit: int) -> None:
    """Say that a list has more items than the ``limit`` that were shown."""
    messages.print(f"there are more; raise --limit (now {limit})")
