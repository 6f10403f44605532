"""Every command in every kind of bad environment ends in at most five lines, without a traceback.

The lines name the thing that is wrong. The commands are those of the program's own tree: one that
is added is tried, too. Each is a process of its own (see `command_forker`).
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from control_plane.cli.client import Exit
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.command_forker import Forker, Run
from tests.cli.every_command import Command, every_command
from tests.cli.strange_servers import ANSWERS, RAW, listening
from tests.support.rest_server import RestServer
from tests.topology.conftest import cell_spec

COMMANDS = every_command()
API = [command for command in COMMANDS if command.calls_api]
DATABASE = [command for command in COMMANDS if command.opens_database]
MAX_LINES = 5
NOWHERE = "http://127.0.0.1:1"
_LOG_LINE = re.compile(r"(INFO|WARNING) |Envoy of an earlier run")
_BROKEN = re.compile(r"Traceback|fault of cellway|Exception ignored|Error in sys|Usage:")


@dataclass(frozen=True, slots=True)
class Told:
    """How a command has ended, and what it has told people."""

    command: Command
    status: int
    lines: list[str]

    def fault(self, names: str = "", *statuses: int) -> str | None:
        """Return what is wrong with the end; None if nothing is.

        Args:
            names: a pattern of the thing that the lines have to name.
            statuses: the exit statuses that are right; without any, all of `Exit`.
        """
        said = "\n".join(self.lines)
        expected = statuses or tuple(Exit)
        right = (
            self.status in expected
            and not _BROKEN.search(said)
            and len(self.lines) <= MAX_LINES
            and re.search(names, said)
        )
        return None if right else f"{self.command.name}: {self.status}, not {names!r}: {said}"


@dataclass(slots=True)
class Place:
    """A directory with files for commands, and a server that works."""

    path: Path
    forker: Forker
    server: str
    taken: int
    numbers: Iterator[int]

    def run(self, command: Command, *more: str, stdin_file: str = "", **run: Any) -> Told:
        """Run a command here; ``run`` has fields of `Run`."""
        number = next(self.numbers)
        cwd = self.path / f"cwd-{number}"
        cwd.mkdir(mode=0o777)
        stands_for = {
            "{taken}": str(self.taken),
            "{new}": str(cwd / "new"),
            "{topology}": str(self.path / "topology.json"),
            "{claims}": str(self.path / "claims.ndjson"),
            "{log}": str(self.path / "access.log"),
            "{corrupt}": str(self.path / "corrupt.db"),
        }
        arguments = [*command.arguments, *more]
        for name, value in stands_for.items():
            arguments = [one.replace(name, value) for one in arguments]
        given = Run(arguments, str(cwd), self.environment(), stderr=str(cwd / "stderr"))
        changed = replace(given, **run)
        if stdin_file:
            (cwd / "cellway.toml").write_text(stdin_file)
        if changed.remove_cwd:
            changed = replace(changed, stderr=str(self.path / f"stderr-{number}"))
        status = self.forker(changed)
        told = Path(changed.stderr).read_text(errors="replace").splitlines()
        shutil.rmtree(cwd, ignore_errors=True)
        return Told(command, status, [one for one in told if not _LOG_LINE.match(one)])

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment in which all is well, with some variables in addition."""
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return keep | {"CELLWAY_SERVER": self.server, "CELLWAY_CLASSIFIER_WORKERS": "0"} | more


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    # Not in pytest's directory, which other users may not enter.
    with tempfile.TemporaryDirectory(prefix="cellway-place-") as directory:
        yield from place_in(Path(directory))


def place_in(path: Path) -> Iterator[Place]:
    path.chmod(0o755)
    (path / "corrupt.db").write_text("this is no database" * 100)
    (path / "topology.json").write_text('{"cells": []}')
    (path / "access.log").write_text('{"method": "GET", "path": "/acme"}\n')
    (path / "claims.ndjson").write_text('{"bucket": "route", "value": "b", "cell": "c1"}\n')
    with (
        Forker.running() as forker,
        socket.create_server(("127.0.0.1", 0)) as busy,
    ):
        topology = Topology.open(f"sqlite:///{path}/api.db")
        topology.cells.create(replace(cell_spec(1), name="c1"), actor="test")
        topology.claims.claim([ClaimSpec("route", "acme", "c1")], actor="test")
        topology.close()
        with RestServer(path) as server:
            yield Place(path, forker, server.url, busy.getsockname()[1], itertools.count())


def faults(ends: Iterator[str | None]) -> list[str]:
    return [fault for fault in ends if fault]


def test_the_commands_run_where_nothing_is_wrong(place: Place) -> None:
    ends = {command.name: place.run(command) for command in COMMANDS}
    assert faults(told.fault() for told in ends.values()) == []
    used_up = [name for name, told in ends.items() if told.status == Exit.USAGE]
    # Of diff, 2 says that there are differences.
    assert set(used_up) <= {"diff", "rules diff", "db restore"}, [ends[one] for one in used_up]


def test_a_server_that_is_down(place: Place) -> None:
    env = place.environment(CELLWAY_SERVER=NOWHERE)
    ends = (place.run(command, environment=env) for command in API)
    assert faults(told.fault(NOWHERE, Exit.ERROR) for told in ends) == []


@pytest.mark.parametrize("kind", [*ANSWERS, *RAW])
def test_a_server_that_is_not_cellway(place: Place, kind: str) -> None:
    with listening(kind) as url:
        env = place.environment(CELLWAY_SERVER=url)
        # Three kinds or more meet each command.
        answer_s = 0.1 if kind == "hangs" else 60
        some = API[[*ANSWERS, *RAW].index(kind) % 3 :: 3]
        ends = [place.run(one, environment=env, answer_s=answer_s) for one in some]
    # A command that shows one object shows that of another API, too.
    ends = [told for told in ends if told.status == Exit.ERROR or kind != "other objects"]
    right = Exit.TIMED_OUT if kind == "hangs" else Exit.ERROR
    assert faults(told.fault(f"{url}|--server", right) for told in ends) == []


@pytest.mark.parametrize(
    "server", ["127.0.0.1:8000", "http://127.0.0.1:x", "", "ftp://x", "http://[::1"]
)
def test_a_misspelt_server(place: Place, server: str) -> None:
    ends = (place.run(one, "--server", server) for one in API[::4])
    assert faults(told.fault("CELLWAY_SERVER", Exit.USAGE) for told in ends) == []


def newer(path: Path) -> str:
    url = f"sqlite:///{path}/newer.db"
    Topology.open(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    return url


@pytest.mark.parametrize(
    ("database", "names"),
    [
        ("postgresql://u:secret@127.0.0.1:1/x", r"127.0.0.1:1/x"),
        ("corrupt", r"corrupt.db"),
        ("sqlit:///x.db", r"sqlit.*sqlite:///FILE"),
        ("garbage", r"database-url: .*no URL"),
        ("newer", r"newer.db.* newer version of cellway"),
        ("sqlite:////proc/none/x.db", r"/proc/none/x.db"),
        ("sqlite:///:memory:", r"database-url: .*memory"),
    ],
)
def test_a_database_that_can_t_be_used(place: Place, database: str, names: str) -> None:
    url = {
        "corrupt": f"sqlite:///{place.path}/corrupt.db",
        "newer": newer(place.path) if database == "newer" else "",
    }.get(database, database)
    ends = [place.run(one, "--database-url", url) for one in DATABASE if one.name != "db restore"]
    wrong = [told.fault("", Exit.ERROR, Exit.USAGE, Exit.REFUSED, Exit.NOT_FOUND) for told in ends]
    assert [one for one in wrong if one] == []
    assert "secret" not in "".join(line for told in ends for line in told.lines)
    # A backup of what is not there says that there is none; PostgreSQL has its own tools.
    opened = (told for told in ends if told.command.name != "db backup")
    assert faults(told.fault(names) for told in opened) == []


def test_a_port_that_is_taken(place: Place) -> None:
    ends = [place.run(one) for one in COMMANDS if one.runs_for_ever]
    names = rf"port {place.taken} of 127.0.0.1 is taken.*--"
    assert faults(told.fault(names, Exit.ERROR) for told in ends) == []
    assert len(ends) == 3


@pytest.mark.parametrize(
    ("toml", "variables", "names"),
    [
        ("roles = [", {}, "cellway.toml is not TOML"),
        ("rolls = 1", {}, "cellway.toml: rolls is no setting, but roles is"),
        ("api_port = 'x'", {}, "cellway.toml: api_port"),
        ("", {"CELLWAY_API_PORT": "x"}, "CELLWAY_API_PORT"),
        ("", {"CELLWAY_ROLES": "api,xdx"}, "CELLWAY_ROLES"),
        ("", {"CELLWAY_DEBUG_NETWORKS": "[1"}, "CELLWAY_DEBUG_NETWORKS.*JSON"),
    ],
)
def test_a_wrong_configuration(
    place: Place, toml: str, variables: dict[str, str], names: str
) -> None:
    env = place.environment(**variables)
    ends = [place.run(one, environment=env, stdin_file=toml) for one in DATABASE]
    assert faults(told.fault(names, Exit.USAGE) for told in ends) == []


def test_a_variable_that_is_misspelt_is_told(place: Place) -> None:
    env = place.environment(CELLWAY_API_PROT="1", CELLWAY_ROLES="api,xds")
    told = place.run(Command("db check"), environment=env)
    assert told.lines[0] == "CELLWAY_API_PROT is no setting, but CELLWAY_API_PORT is: ignored"


def test_proxies_of_the_environment_carry_nothing_to_this_machine(place: Place) -> None:
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy")
    for proxy in ("http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense"):
        env = place.environment(**dict.fromkeys(proxies, proxy))
        told = place.run(Command("cells list"), environment=env)
        assert told.status == 0, told


def test_names_outside_ascii(place: Place) -> None:
    user = place.environment(LOGNAME="jörg-日本")
    ends = [place.run(one, environment=user) for one in API[::3]]
    assert faults(told.fault() for told in ends) == []
    token = place.environment(CELLWAY_TOKEN="tökén")
    ends = [place.run(one, environment=token) for one in API[::3]]
    assert faults(told.fault("CELLWAY_TOKEN", Exit.USAGE) for told in ends) == []
    raw = place.run(Command("cells get"), "\udcff")
    assert raw.status == Exit.USAGE, raw


@pytest.mark.parametrize(
    ("stdout", "says"), [("/dev/full", "No space left"), ("", "Bad file desc")]
)
def test_an_output_that_can_t_be_written(place: Place, stdout: str, says: str) -> None:
    turn = bool(stdout)
    always = {"cells list", "claims export", "envoy bootstrap"}
    some = [one for one in COMMANDS if one.name in always]
    some += [one for one in COMMANDS[turn::2] if not one.runs_for_ever and one not in some]
    ends = [place.run(one, stdout=stdout) for one in some]
    assert faults(told.fault() for told in ends) == []
    writing = [told for told in ends if told.status == Exit.ERROR and says in str(told.lines)]
    assert always <= {one.command.name for one in writing}


@pytest.mark.parametrize(
    ("turn", "variables"),
    [
        (0, {"NO_COLOR": "1", "TERM": "dumb", "LANG": "C", "LC_ALL": "C"}),
        (1, {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "COLUMNS": "10"}),
        (2, {"PATH": "/nowhere", "TMPDIR": "/nowhere"}),
    ],
)
def test_a_strange_terminal(place: Place, turn: int, variables: dict[str, str]) -> None:
    env = {key: value for key, value in place.environment(**variables).items() if key != "HOME"}
    ends = (place.run(one, environment=env) for one in COMMANDS[turn::3])
    assert faults(told.fault() for told in ends) == []


def test_a_directory_that_is_gone(place: Place) -> None:
    ends = (place.run(one, remove_cwd=True) for one in COMMANDS)
    assert faults(told.fault() for told in ends) == []


def test_a_directory_that_can_t_be_written(place: Place) -> None:
    directory = place.path / "read-only"
    directory.mkdir(mode=0o555)
    cwd = str(directory)
    ends = [place.run(one, without_capabilities=True, cwd=cwd) for one in COMMANDS]
    assert faults(told.fault() for told in ends) == []


def test_directories_outside_ascii_and_outside_utf8(place: Place) -> None:
    named = place.run(Command("db migrate"), "--data-dir", str(place.path / "данные-日本"))
    assert named.fault("", Exit.OK) is None
    raw = str(place.path / "s\udcff")
    ends = [place.run(one, "--data-dir", raw) for one in DATABASE if one.name != "db restore"]
    assert faults(told.fault("data-dir.*no UTF-8", Exit.USAGE) for told in ends) == []
