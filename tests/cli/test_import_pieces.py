"""The pieces of a file: within what one request may have, and every line with its number."""

from __future__ import annotations

import io

from control_plane.cli.import_pieces import PIECE_BYTES, PIECE_LINES, Piece, pieces
from control_plane.names import MAX_LINE_BYTES


def cut(data: bytes, lines_before: int = 0) -> list[Piece]:
    return list(pieces(io.BytesIO(data), lines_before))


def test_a_piece_has_at_most_so_many_lines_and_bytes() -> None:
    data = b"\n".join([b"x" * 60_000] * 60 + [b"y"] * 6_000)
    all_pieces = cut(data, 10)
    assert [piece.first for piece in all_pieces] == [11, 35, 59, 5_059]
    assert sum(piece.size for piece in all_pieces) == len(data)
    assert all(piece.size <= PIECE_BYTES for piece in all_pieces)
    assert all(len(piece.lines) <= PIECE_LINES for piece in all_pieces)


def test_a_line_that_is_no_text_is_told_by_its_number_and_keeps_its_place() -> None:
    (piece,) = cut(b"a\r\n\xff\n" + b"x" * (MAX_LINE_BYTES + 9) + b"\nb", 100)
    assert piece.lines == ["a", "", "", "b"]
    (no_text, too_long) = piece.broken
    assert (no_text[0], "is not UTF-8" in no_text[1]) == (102, True)
    assert too_long == (103, f"is longer than {MAX_LINE_BYTES} bytes")


def test_bytes_are_counted_to_go_on_from() -> None:
    data = b"a\n" + b"x" * (3 * MAX_LINE_BYTES) + b"\n\xff\xfe\nb"
    assert sum(piece.size for piece in cut(data)) == len(data)


def test_an_empty_file_has_no_piece() -> None:
    assert cut(b"") == []
