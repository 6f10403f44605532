"""Packed rows lead where the rows led."""

from __future__ import annotations

import random

from control_plane.compiler.automata.comb import comb


def test_every_way_of_every_row_is_found_again() -> None:
    choose = random.Random(5)
    for _ in range(200):
        columns, size = choose.randrange(1, 30), choose.randrange(1, 60)
        quiet = choose.randrange(size + 1)
        usual = choose.choices(range(size), k=3)
        rows = [
            [choose.choice(usual if choose.random() < 0.8 else range(size)) for _ in range(columns)]
            for _ in range(size)
        ]
        packed = comb(rows, columns, quiet)
        places = packed.places
        assert len(set(places)) == size
        assert places[0] == 0 or quiet == 0
        assert max(places[:quiet], default=-1) < min(places[quiet:], default=len(packed.cells))
        for number, row in enumerate(rows):
            for column, way in enumerate(row):
                cell = packed.cells[places[number] + column]
                assert way == (cell[1] if cell and cell[0] == number else packed.fallbacks[number])


def test_rows_that_fit_into_each_other_share_cells() -> None:
    rows = [[0] * 8, [1, 0, 0, 0, 0, 0, 0, 2], [0, 0, 3, 0, 0, 0, 0, 0]]
    packed = comb(rows, 8, 3)
    assert sum(cell is not None for cell in packed.cells) == 3
    assert len(packed.cells) <= 11
    assert packed.at_places(["a", "b", "c"], "-")[0] == "a"
