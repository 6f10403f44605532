"""The reader of imports, on small trees."""

from __future__ import annotations

import pytest

from tests.house.imports import Imports, Kind, read_imports

TREE = {"control_plane/settings.py": "", "control_plane/room/__init__.py": ""}


def read(text: str, path: str = "control_plane/room/reader.py") -> Imports:
    """The imports of one file beside a file and a package."""
    return read_imports({**TREE, path: text})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("import control_plane.settings", Kind.MODULE),
        ("import control_plane.settings as other", Kind.MODULE),
        ("from control_plane import settings", Kind.MODULE),
        ("from control_plane.settings import name", Kind.MODULE),
        ("try:\n    import control_plane.settings\nexcept ImportError:\n    pass", Kind.MODULE),
        ("if True:\n    pass\nelse:\n    import control_plane.settings", Kind.MODULE),
        ("class C:\n    from control_plane import settings", Kind.MODULE),
        ("def f():\n    from control_plane import settings", Kind.FUNCTION),
        ("async def f():\n    with g:\n        import control_plane.settings", Kind.FUNCTION),
        ("class C:\n    def f(self):\n        import control_plane.settings", Kind.FUNCTION),
        ("match x:\n    case 1:\n        import control_plane.settings", Kind.MODULE),
        ("if TYPE_CHECKING:\n    from control_plane import settings", Kind.TYPE_CHECKING),
        ("if typing.TYPE_CHECKING:\n    import control_plane.settings", Kind.TYPE_CHECKING),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import control_plane.settings", Kind.MODULE),
        (
            "def f():\n    if TYPE_CHECKING:\n        import control_plane.settings",
            Kind.TYPE_CHECKING,
        ),
        ("importlib.import_module('control_plane.settings')", Kind.IMPORTLIB),
        ("def f():\n    return import_module('control_plane.settings').name", Kind.IMPORTLIB),
        ("SETTINGS = 'control_plane.settings'\nx = import_module(SETTINGS)", Kind.IMPORTLIB),
        ("x = __import__('control_plane.settings')", Kind.IMPORTLIB),
        ("run([sys.executable, '-m', 'control_plane.settings'])", Kind.START),
        ("run(sys.executable, '-m', 'control_plane.settings', *more)", Kind.START),
        ("SETTINGS = 'control_plane.settings'\nrun((python, '-m', SETTINGS))", Kind.START),
        (
            "run(['python', \"-c\", 'import sys; from control_plane.settings import x'])",
            Kind.PROGRAM,
        ),
        ('CODE = """\nimport control_plane.settings\n"""\nrun("-c", CODE)', Kind.PROGRAM),
        ("run(f'{python} -m control_plane.settings --name x', shell=True)", Kind.START),
    ],
)
def test_every_way_to_write_an_import_is_recorded(text: str, kind: Kind) -> None:
    (one,) = [one for one in read(text).recorded if one.target == "control_plane.settings"]
    assert one.kind is kind
    assert one.importer == "control_plane.room.reader"


def test_an_import_is_told_with_its_line() -> None:
    (one,) = read("import os\n\n\ndef f():\n    import control_plane.settings").recorded
    assert str(one) == "control_plane.room.reader → control_plane.settings (line 5, function)"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("control_plane/room/reader.py", "from .. import settings"),
        ("control_plane/room/reader.py", "from ..settings import name"),
        ("control_plane/reader.py", "from . import settings"),
        ("control_plane/inner/__init__.py", "from ..settings import name"),
        ("control_plane/room/reader.py", "import_module('..settings', __package__)"),
    ],
)
def test_relative_imports_are_made_absolute(path: str, text: str) -> None:
    (one,) = read(text, path).recorded
    assert (one.target, one.relative) == ("control_plane.settings", True)


def test_what_only_talks_of_an_import_is_none() -> None:
    text = '"""Run `python -m control_plane.settings`, or import control_plane.settings."""\n# import control_plane.settings'
    assert read(text).recorded == []


def test_other_peoples_modules_are_left_out() -> None:
    imports = read("import os\nimport grpc.aio\nrun('-m', 'pytest')")
    assert imports.recorded == imports.unresolved == []


def test_a_name_of_a_package_leads_to_the_package() -> None:
    imports = read_imports({**TREE, "control_plane/a.py": "from control_plane.room import name"})
    assert [one.target for one in imports.recorded] == ["control_plane.room"]


def test_an_import_of_a_module_that_has_moved_is_unresolved() -> None:
    imports = read("def f():\n    from control_plane.moved import name")
    assert [one.target for one in imports.unresolved] == ["control_plane.moved"]


def test_generated_code_is_read_like_any_other() -> None:
    path = "control_plane/room/generated/claims_pb2.py"
    (one,) = read("from control_plane import settings as proto_dot_settings", path).recorded
    assert one.importer == "control_plane.room.generated.claims_pb2"


def test_an_arrow_is_no_started_process_and_counts_once() -> None:
    text = "import control_plane.settings\ndef f():\n    from control_plane.settings import x\nrun('-m', 'control_plane.room')"
    assert [one.target for one in read(text).arrows] == ["control_plane.settings"]


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
