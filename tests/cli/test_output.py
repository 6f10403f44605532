"""What tables show: all of what a cell of them holds, however narrow the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from control_plane.cli.output import table_of


def test_a_long_word_goes_on_in_the_next_line() -> None:
    written = io.StringIO()
    Console(file=written, width=12).print(table_of(["ERROR"], [["cannot bind 127.0.0.1:22321"]]))
    assert "".join(written.getvalue().split()) == "ERRORcannotbind127.0.0.1:22321"
