"""What is measured of this repository stays within its limits, and the measures measure."""

from __future__ import annotations

from functools import cache

import pytest

from tests.house import exceptions
from tests.house.constants import doubled_constants, doubled_wire_names
from tests.house.exceptions import judge
from tests.house.figures import (
    MAX_FILE,
    MAX_FILE_P90,
    MAX_FUNCTION,
    MAX_FUNCTION_P90,
    MAX_TOPOLOGY_PAIRS,
    MAX_TOPOLOGY_STATEMENTS,
    Length,
    asserted_parts,
    explained,
    file_lengths,
    function_lengths,
    imports_between,
    junk_drawers,
    ratios_of_tests,
    spread,
    untested_modules,
    without_docstring,
)
from tests.house.imports import read_imports
from tests.house.repeats import find_repeats
from tests.house.sources import hand_written, read_sources


@cache
def written(*folders: str) -> dict[str, str]:
    """The files below some folders that people write."""
    return hand_written(read_sources(), *folders)


def test_no_file_is_long() -> None:
    long = [one.name for one in file_lengths(written()) if one.lines > MAX_FILE]
    assert judge(long, exceptions.FILES) == []


def test_no_function_is_long() -> None:
    long = [one.name for one in function_lengths(written()) if one.lines > MAX_FUNCTION]
    assert judge(long, exceptions.FUNCTIONS) == []


def test_most_files_and_functions_are_short() -> None:
    assert spread(file_lengths(written("control_plane"))).p90 <= MAX_FILE_P90
    assert spread(function_lengths(written("control_plane"))).p90 <= MAX_FUNCTION_P90


def test_no_constant_is_doubled() -> None:
    doubled = {one.what: one for one in doubled_constants(written("control_plane"))}
    assert judge(doubled, exceptions.CONSTANTS) == []


def test_no_name_on_the_wire_is_spelled_out_twice() -> None:
    doubled = {one.what: one for one in doubled_wire_names(written("control_plane"))}
    assert judge(doubled, exceptions.WIRE_NAMES) == []


def test_no_run_of_lines_is_repeated() -> None:
    repeats = find_repeats(written())
    assert [str(one) for one in repeats if not set(one.paths) <= exceptions.REPEATS.keys()] == []
    assert set(exceptions.REPEATS) - {path for one in repeats for path in one.paths} == set()


def test_the_sub_rooms_of_topology_hardly_know_each_other() -> None:
    between = imports_between(read_imports(read_sources()), "control_plane.topology")
    assert between.pairs <= MAX_TOPOLOGY_PAIRS
    assert between.statements <= MAX_TOPOLOGY_STATEMENTS


def test_no_module_is_a_junk_drawer() -> None:
    assert junk_drawers(written()) == []


def test_every_module_says_what_it_is_for() -> None:
    assert judge(without_docstring(written()), exceptions.SILENT) == []


def test_the_composition_root_asserts_no_parts() -> None:
    server = {
        path: source
        for path, source in written("control_plane").items()
        if path.startswith("control_plane/server")
    }
    assert judge(asserted_parts(server), exceptions.ASSERTED) == []


def test_lengths_are_counted_longest_first() -> None:
    sources = {"a.py": "x = 1\n", "b.py": "@d\ndef f():\n    def g():\n        pass\n\n\n    g()\n"}
    assert file_lengths(sources) == [Length(7, "b.py"), Length(1, "a.py")]
    assert function_lengths(sources) == [Length(6, "b.py:f"), Length(2, "b.py:f.g")]


def test_nine_of_ten_are_shorter_than_the_p90() -> None:
    shares = spread([Length(lines, "") for lines in range(1, 21)])
    assert str(shares) == "10.5 / 19 / 20"


def test_what_is_explained_is_counted() -> None:
    text = '# why\ndef f():\n    """One."""\n\n\nclass C:\n    x = 1  # not a line of its own\n\n\ndef _g(): ...\n'
    found = explained({"a.py": text})
    assert (found.documented, found.docstring_median, found.comments) == (0.5, 1, 0.1)


def test_a_silent_module_is_told_and_an_empty_one_is_not() -> None:
    assert without_docstring({"a.py": "x = 1", "b.py": '"""B."""', "c.py": "\n"}) == ["a.py"]


@pytest.mark.parametrize("path", ["a/utils.py", "a/helpers/b.py", "a/http_common.py"])
def test_junk_drawers_are_known_by_their_names(path: str) -> None:
    assert junk_drawers({path: "", "a/manage.py": "", "a/commonplace.py": ""}) == [path]


def test_an_assertion_that_a_part_exists_is_told() -> None:
    text = "assert x is not None\nassert x\nassert a and self.b is not None, 'why'"
    assert asserted_parts({"a.py": text}) == [
        "a.py: assert a and self.b is not None, 'why'",
        "a.py: assert x is not None",
    ]


def test_imports_between_sub_rooms_are_counted_by_line_and_by_pair() -> None:
    sources = {
        "control_plane/topology/claims/a.py": "from control_plane.topology.storage import b, c\n"
        "def f():\n    import control_plane.topology.storage.b\n"
        "from control_plane.topology.claims import d",
        "control_plane/topology/claims/d.py": "from control_plane.topology import tokens\nimport control_plane.xds",
        "control_plane/topology/storage/b.py": "",
        "control_plane/topology/storage/c.py": "",
        "control_plane/topology/tokens.py": "",
        "control_plane/xds.py": "from control_plane.topology import tokens",
    }
    between = imports_between(read_imports(sources), "control_plane.topology")
    assert (between.statements, between.pairs) == (3, 2)


def test_tests_are_counted_for_each_line_of_their_room() -> None:
    sources = {"control_plane/xds/a.py": "1\n2\n", "tests/xds/b.py": "1\n", "tests/xds/c.py": "1\n"}
    assert ratios_of_tests(sources) == {"xds": 1.0}


def test_a_module_with_logic_wants_a_test_file_of_its_name() -> None:
    logic = "def f(x):\n    return 1 if x else 2"
    sources = {
        "control_plane/xds/tested.py": logic,
        "control_plane/xds/untested.py": logic,
        "control_plane/xds/plain.py": "def f(x):\n    return x",
        "control_plane/top.py": logic,
        "tests/xds/test_tested.py": "",
        "tests/test_top.py": "",
        "tests/test_untested.py": "",
    }
    assert untested_modules(sources) == ["control_plane/xds/untested.py"]


def test_an_exception_excuses_what_it_names_and_is_stale_otherwise() -> None:
    assert judge(["a", "b"], {"a": "why", "c": "why"}) == [
        "breaks the rule: b",
        "needs no exception any more: c",
    ]
