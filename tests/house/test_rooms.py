"""The checkers of arrows fail where they should, on small trees."""

from __future__ import annotations

import pytest

from tests.house.imports import Imports, read_imports
from tests.house.rooms import (
    House,
    Room,
    all_circles,
    compare,
    imported_tests,
    module_circles,
    read_table,
    room,
    stale_exceptions,
    unit_circles,
    without,
)

ROOMS = [
    room("control_plane/routing/"),
    room("control_plane/compiler/", imports=["routing"]),
    room("control_plane/server.py", imports=["control_plane"]),
    room("control_plane/topology/values/"),
    room("control_plane/topology/", imports=["topology"]),
    room("control_plane/metrics/", imports=["topology/values"]),
    room("tests/", imports=["control_plane", "bench"]),
]
TREE = {
    "control_plane/__init__.py": "",
    "control_plane/routing/model.py": "",
    "control_plane/compiler/compile.py": "from control_plane.routing.model import Cell",
    "control_plane/server.py": "from control_plane.compiler import compile",
    "control_plane/topology/values/cell.py": "",
    "control_plane/topology/service.py": "from control_plane.topology.values.cell import Cell",
    "control_plane/metrics/counts.py": "from control_plane.topology.values import cell",
    "tests/test_x.py": "from control_plane import server",
}


def imports(**changes: str) -> Imports:
    """The small tree with other texts: ``routing_model="import x"``."""
    return read_imports({**TREE, **{_path(name): text for name, text in changes.items()}})


def _path(name: str) -> str:
    return f"control_plane/{name.replace('_', '/')}.py"


def forbidden(given: Imports) -> list[tuple[str, str]]:
    """Importer and target of what the table doesn't allow."""
    return [(one.importer, one.target) for one in House(ROOMS, given).forbidden()]


def test_a_tree_that_follows_the_table_is_left_alone() -> None:
    given = imports()
    assert forbidden(given) == []
    assert all_circles(given.arrows) == []
    assert House(ROOMS, given).homeless == House(ROOMS, given).empty_places == []


@pytest.mark.parametrize(
    "text",
    [
        "from control_plane import server",
        "def f():\n    from control_plane import server",
        "if TYPE_CHECKING:\n    from control_plane import server",
        "importlib.import_module('control_plane.server')",
        "from .. import server",
    ],
)
def test_an_arrow_against_the_table_is_seen_however_it_is_written(text: str) -> None:
    given = imports(routing_model=text)
    assert forbidden(given) == [("control_plane.routing.model", "control_plane.server")]


def test_an_arrow_to_a_part_of_a_room_allows_this_part_only() -> None:
    given = imports(metrics_counts="from control_plane.topology import service")
    assert forbidden(given) == [("control_plane.metrics.counts", "control_plane.topology.service")]


def test_a_room_inside_another_has_its_own_rule() -> None:
    given = imports(topology_values_cell="from control_plane.topology import service")
    assert forbidden(given) == [
        ("control_plane.topology.values.cell", "control_plane.topology.service")
    ]


def test_the_files_of_a_folder_can_be_allowed_without_its_folders() -> None:
    rooms = [
        room("control_plane/xds/session/", imports=["xds/*.py"]),
        room("control_plane/xds/server/"),
        room("control_plane/xds/"),
    ]
    given = read_imports(
        {
            "control_plane/xds/resource.py": "",
            "control_plane/xds/server/stream.py": "",
            "control_plane/xds/session/delta.py": "from control_plane.xds import resource\n"
            "from control_plane.xds.server import stream",
        }
    )
    (one,) = House(rooms, given).forbidden()
    assert one.target == "control_plane.xds.server.stream"


def test_a_file_outside_all_rooms_is_homeless() -> None:
    assert House(ROOMS, imports(loose="")).homeless == ["control_plane/loose.py"]


def test_a_room_without_files_is_told() -> None:
    given = read_imports({path: text for path, text in TREE.items() if "metrics" not in path})
    assert House(ROOMS, given).empty_places == ["control_plane/metrics/"]


@pytest.mark.parametrize(
    "text",
    [
        "from control_plane.routing import model",
        "def f():\n    from control_plane.routing import model",
        "if TYPE_CHECKING:\n    from control_plane.routing import model",
        "importlib.import_module('control_plane.routing.model')",
    ],
)
def test_a_circle_is_seen_however_its_imports_hide(text: str) -> None:
    given = imports(routing_model="from control_plane.routing import rules", routing_rules=text)
    circle = [f"control_plane.routing.{name}" for name in ("model", "rules", "model")]
    assert module_circles(given.arrows) == [circle]


def test_a_circle_between_rooms_is_seen_though_no_module_is_in_one() -> None:
    given = imports(routing_model="from control_plane.compiler import names", compiler_names="")
    assert module_circles(given.arrows) == []
    circle = ["control_plane.compiler", "control_plane.routing", "control_plane.compiler"]
    assert unit_circles(given.arrows, 2) == [circle]


def test_a_circle_between_sub_rooms_is_seen() -> None:
    given = imports(
        topology_values_cell="from control_plane.topology.storage import schema",
        topology_storage_schema="",
        topology_storage_store="from control_plane.topology.values import change",
        topology_values_change="",
    )
    assert module_circles(given.arrows) == unit_circles(given.arrows, 2) == []
    (circle,) = unit_circles(given.arrows, 3)
    assert set(circle) == {"control_plane.topology.storage", "control_plane.topology.values"}


def test_an_exception_excuses_its_arrow_alone() -> None:
    given = imports(
        routing_model="from control_plane import server\nimport control_plane.metrics.counts"
    )
    arrow = ("control_plane.routing.model", "control_plane.server")
    rest = without(House(ROOMS, given).forbidden(), {arrow: "why"})
    assert [one.target for one in rest] == ["control_plane.metrics.counts"]


def test_an_import_of_a_test_module_is_seen_and_one_of_its_neighbours_is_not() -> None:
    given = read_imports(
        {
            "tests/room/test_one.py": "",
            "tests/room/wire.py": "",
            "tests/test_two.py": "from tests.room.test_one import x\nfrom tests.room import wire",
        }
    )
    assert imported_tests(given.arrows) == ["tests.test_two → tests.room.test_one"]


@pytest.mark.parametrize("text", ["", "from control_plane.routing import rules"])
def test_an_exception_that_excuses_nothing_is_stale(text: str) -> None:
    given = imports(routing_model=text, routing_rules="")
    arrow = ("control_plane.routing.model", "control_plane.routing.rules")
    stale = stale_exceptions(House(ROOMS, given), given, {arrow: "why"})
    assert stale == ["control_plane.routing.model → control_plane.routing.rules"]


def test_an_exception_for_a_circle_is_not_stale() -> None:
    given = imports(
        routing_model="from control_plane.routing import rules",
        routing_rules="from control_plane.routing import model",
    )
    arrow = ("control_plane.routing.model", "control_plane.routing.rules")
    assert stale_exceptions(House(ROOMS, given), given, {arrow: "why"}) == []
    assert all_circles(without(given.arrows, {arrow: "why"})) == []


PAGE = """
| folder | what lives there | may import |
|---|---|---|
| `control_plane/routing/` | pure | nothing of ours |
| `control_plane/a.py`, `control_plane/b/` | two places | `routing`, `xds/*.py` |
| `envoy/` | Lua | no Python |

| other | table |
|---|---|
| `x` | y |
"""
TABLE = [
    room("control_plane/routing/"),
    room("control_plane/a.py", "control_plane/b/", imports=["routing", "xds/*.py"]),
]


def test_a_table_is_read_as_it_stands_on_the_page() -> None:
    assert read_table(PAGE) == TABLE
    assert compare(TABLE, read_table(PAGE)) == []


@pytest.mark.parametrize(
    ("ours", "difference"),
    [
        ([*TABLE, room("control_plane/new/")], "not on the page: control_plane/new/"),
        (TABLE[1:], "on the page alone: control_plane/routing/"),
        (
            [room("control_plane/routing/", imports=["names"]), TABLE[1]],
            "control_plane/routing/ may import names; the page says nothing of ours",
        ),
    ],
)
def test_a_page_that_says_otherwise_is_told(ours: list[Room], difference: str) -> None:
    assert compare(ours, read_table(PAGE)) == [difference]


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        ("| `control_plane/a.py`", "\n| `control_plane/a.py`", "apart from their table"),
        ("nothing of ours", "not much", "neither names"),
        ("nothing of ours", "nothing of ours, `names`", "neither names"),
        ("`routing`, `xds/*.py`", "`routing` (status)", "neither names"),
        ("| pure |", "| |", "without a place or a description"),
        ("may import", "imports", "no table"),
    ],
)
def test_a_broken_table_is_refused(before: str, after: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        read_table(PAGE.replace(before, after))
