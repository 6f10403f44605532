"""The reader of imports, on small trees."""

from __future__ import annotations

import pytest

from tests.house.imports import Imports, Kind, read_imports

LEAF = {"control_plane/leaf.py": "", "control_plane/room/__init__.py": ""}


def read(text: str, path: str = "control_plane/room/reader.py") -> Imports:
    """The imports of one file beside a leaf and a package."""
    return read_imports({**LEAF, path: text})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("import control_plane.leaf", Kind.MODULE),
        ("import control_plane.leaf as other", Kind.MODULE),
        ("from control_plane import leaf", Kind.MODULE),
        ("from control_plane.leaf import name", Kind.MODULE),
        ("try:\n    import control_plane.leaf\nexcept ImportError:\n    pass", Kind.MODULE),
        ("if True:\n    pass\nelse:\n    import control_plane.leaf", Kind.MODULE),
        ("class C:\n    from control_plane import leaf", Kind.MODULE),
        ("def f():\n    from control_plane import leaf", Kind.FUNCTION),
        ("async def f():\n    with g:\n        import control_plane.leaf", Kind.FUNCTION),
        ("class C:\n    def f(self):\n        import control_plane.leaf", Kind.FUNCTION),
        ("match x:\n    case 1:\n        import control_plane.leaf", Kind.MODULE),
        ("if TYPE_CHECKING:\n    from control_plane import leaf", Kind.TYPE_CHECKING),
        ("if typing.TYPE_CHECKING:\n    import control_plane.leaf", Kind.TYPE_CHECKING),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import control_plane.leaf", Kind.MODULE),
        ("def f():\n    if TYPE_CHECKING:\n        import control_plane.leaf", Kind.TYPE_CHECKING),
        ("importlib.import_module('control_plane.leaf')", Kind.IMPORTLIB),
        ("def f():\n    return import_module('control_plane.leaf').name", Kind.IMPORTLIB),
        ("LEAF = 'control_plane.leaf'\nx = import_module(LEAF)", Kind.IMPORTLIB),
        ("x = __import__('control_plane.leaf')", Kind.IMPORTLIB),
        ("run([sys.executable, '-m', 'control_plane.leaf'])", Kind.START),
        ("run(sys.executable, '-m', 'control_plane.leaf', *more)", Kind.START),
        ("LEAF = 'control_plane.leaf'\nrun((python, '-m', LEAF))", Kind.START),
        ("run(f'{python} -m control_plane.leaf --name x', shell=True)", Kind.START),
    ],
)
def test_every_way_to_write_an_import_is_recorded(text: str, kind: Kind) -> None:
    (one,) = [one for one in read(text).recorded if one.target == "control_plane.leaf"]
    assert one.kind is kind
    assert one.importer == "control_plane.room.reader"
    assert (
        "control_plane.leaf" in text.splitlines()[one.line - 1]
        or "LEAF" in text
        or ("import leaf" in text)
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("control_plane/room/reader.py", "from .. import leaf"),
        ("control_plane/room/reader.py", "from ..leaf import name"),
        ("control_plane/reader.py", "from . import leaf"),
        ("control_plane/inner/__init__.py", "from ..leaf import name"),
        ("control_plane/room/reader.py", "import_module('..leaf', __package__)"),
    ],
)
def test_relative_imports_are_made_absolute(path: str, text: str) -> None:
    (one,) = read(text, path).recorded
    assert (one.target, one.relative) == ("control_plane.leaf", True)


def test_what_only_talks_of_an_import_is_none() -> None:
    text = '"""Run `python -m control_plane.leaf`, or import control_plane.leaf."""\n# import control_plane.leaf'
    assert read(text).recorded == []


def test_other_peoples_modules_are_left_out() -> None:
    imports = read("import os\nimport grpc.aio\nrun('-m', 'pytest')")
    assert imports.recorded == imports.unresolved == []


def test_a_name_of_a_package_leads_to_the_package() -> None:
    imports = read_imports({**LEAF, "control_plane/a.py": "from control_plane.room import name"})
    assert [one.target for one in imports.recorded] == ["control_plane.room"]


def test_an_import_of_a_module_that_has_moved_is_unresolved() -> None:
    imports = read("def f():\n    from control_plane.moved import name")
    assert [one.target for one in imports.unresolved] == ["control_plane.moved"]


def test_generated_code_is_read_like_any_other() -> None:
    path = "control_plane/room/generated/claims_pb2.py"
    (one,) = read("from control_plane import leaf as proto_dot_leaf", path).recorded
    assert one.importer == "control_plane.room.generated.claims_pb2"


def test_an_arrow_is_no_started_process_and_counts_once() -> None:
    text = "import control_plane.leaf\ndef f():\n    from control_plane.leaf import x\nrun('-m', 'control_plane.room')"
    assert [one.target for one in read(text).arrows] == ["control_plane.leaf"]


def test_a_module_loads_the_packages_around_what_it_imports() -> None:
    imports = read_imports(
        {
            "control_plane/a.py": "from control_plane.room.values import x",
            "control_plane/room/__init__.py": "from control_plane.room.service import Service",
            "control_plane/room/service.py": "",
            "control_plane/room/values.py": "if TYPE_CHECKING:\n    import control_plane.a",
        }
    )
    assert set(imports.loads) == {
        ("control_plane.a", "control_plane.room.values"),
        ("control_plane.room.values", "control_plane.room"),
        ("control_plane.room.service", "control_plane.room"),
        ("control_plane.room", "control_plane.room.service"),
    }
