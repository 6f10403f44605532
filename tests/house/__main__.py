"""Prints the figures of the house: `python -m tests.house`.

`tests/house/test_figures.py` holds the limits that are printed beside them.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.house import exceptions
from tests.house.constants import doubled_constants, doubled_wire_names
from tests.house.figures import (
    MAX_FILE,
    MAX_FILE_P90,
    MAX_FUNCTION,
    MAX_FUNCTION_P90,
    MAX_TOPOLOGY_PAIRS,
    MAX_TOPOLOGY_STATEMENTS,
    explained,
    file_lengths,
    function_lengths,
    imports_between,
    ratios_of_tests,
    spread,
    untested_modules,
)
from tests.house.imports import Imports, read_imports
from tests.house.repeats import find_repeats
from tests.house.rooms import imported_tests
from tests.house.sources import Sources, hand_written, read_sources

_LONGEST = 40


def main() -> None:
    """Measure the repository as it is in the working tree."""
    sources = read_sources()
    written = hand_written(sources)
    ours = hand_written(sources, "control_plane")
    imports = read_imports(sources)
    _print_lengths(written)
    _print_explained(written, ours)
    _print_imports(imports)
    _print_list("doubled constants", [*doubled_constants(ours), *doubled_wire_names(ours)])
    _print_list("runs of eight or more lines in several places", find_repeats(written))
    _print_list(f"the {_LONGEST} longest functions", function_lengths(ours)[:_LONGEST])
    _print_list(
        f"files of more than {MAX_FILE_P90} lines",
        [one for one in file_lengths(written) if one.lines > MAX_FILE_P90],
    )
    _print_list(
        "modules with logic and without a test file of their name", untested_modules(written)
    )


def _print_lengths(written: Sources) -> None:
    print(
        "lines, median / p90 / most"
        f" (limits: files {MAX_FILE_P90} / {MAX_FILE}, functions {MAX_FUNCTION_P90} / {MAX_FUNCTION})"
    )
    for folder in ("control_plane", "addons", "bench", "tests"):
        some = hand_written(written, folder)
        files, each = spread(file_lengths(some)), spread(function_lengths(some))
        print(f"  {folder:14} files {files!s:18} functions {each}")


def _print_explained(written: Sources, ours: Sources) -> None:
    shares = explained(ours)
    ratios = ratios_of_tests(written)
    tests = sum(one.lines for one in file_lengths(hand_written(written, "tests")))
    print(f"public docstrings {shares.documented:.0%}, median {shares.docstring_median:g} lines")
    print(f"comment lines {shares.comments:.1%}")
    print(f"tests ÷ source {tests / sum(one.lines for one in file_lengths(ours)):.2f}; by room:")
    print("  " + ", ".join(f"{room} {ratio:.2f}" for room, ratio in sorted(ratios.items())))


def _print_imports(imports: Imports) -> None:
    between = imports_between(imports, "control_plane.topology")
    print(
        f"imports between topology's sub-rooms: {between.pairs} pairs (limit {MAX_TOPOLOGY_PAIRS}),"
        f" {between.statements} statements (limit {MAX_TOPOLOGY_STATEMENTS})"
    )
    print(f"imports against the table or in a circle: {len(exceptions.ARROWS)} exceptions")
    print(f"imports of test modules: {len(imported_tests(imports.arrows))} (limit 0)")


def _print_list(title: str, lines: Iterable[object]) -> None:
    listed = list(lines)
    print(f"\n{title}: {len(listed)}")
    for line in listed:
        print(f"  {line}")


if __name__ == "__main__":
    main()
