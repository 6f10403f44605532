"""Options and arguments that several commands have, and readers of what they say as text."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from control_plane.cli.client import Exit, Failure

DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="sqlite:///FILE or postgresql://…; default: CELLWAY_DATABASE_URL"),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="directory of what is kept here, the SQLite file too if there is no --database-url; "
        "default: .cellway"
    ),
]
NewDatabase = Annotated[
    bool | None,
    typer.Option(
        "--new-database",
        help="make a new database although one has been here; use it once",
    ),
]
IfMatch = Annotated[
    str | None, typer.Option(help="change nothing unless the cell has this ETag, e.g. '\"7\"'")
]
Force = Annotated[bool, typer.Option(help="do it although a guard refuses it; needs --reason")]
Confirm = Annotated[
    str | None, typer.Option(help="the cell's name, for --force where nobody can be asked")
]
Why = Annotated[str | None, typer.Option("--reason", help="why you do it; stays in the audit")]
Limit = Annotated[int, typer.Option(min=1, help="show at most this many")]
Reason = Annotated[str, typer.Option(help="why you do it; stays in the audit")]
CellName = Annotated[str, typer.Argument(help="name of a cell")]

UNIX = "unix:"
"""What the path of a Unix socket begins with where a host and a port are possible, too."""

_DURATION = re.compile(r"([0-9]{1,9})([smhd])\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def port_option(what: str) -> Any:
    """Return the option of a port that something listens on."""
    return typer.Option(min=0, max=65535, help=f"port of {what}; 0: any free one")


def claim_key(text: str) -> dict[str, str]:
    """Read ``bucket:value`` as the API takes it: ``{"bucket": …, "value": …}``.

    Raises:
        Failure: it is none.
    """
    bucket, colon, value = text.partition(":")
    if not colon or not value:
        raise Failure(f"{text!r} is not bucket:value; write route:gitlab-org", Exit.USAGE)
    return {"bucket": bucket, "value": value}


def host_port(option: str, text: str) -> tuple[str, int]:
    """Read the ``host:port`` of an option; an IPv6 address loses its brackets.

    Raises:
        Failure: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise Failure(f"{option} {text!r} is not host:port; write 10.0.0.1:18000", Exit.USAGE)
    return host.removeprefix("[").removesuffix("]"), int(port)


def socket_or_port(option: str, text: str) -> str | tuple[str, int]:
    """Read ``unix:PATH`` as the path, or ``host:port`` as host and port.

    Raises:
        Failure: it is neither.
    """
    if not text.startswith(UNIX):
        return host_port(option, text)
    if not (path := text.removeprefix(UNIX)):
        raise Failure(f"{option} {text!r} names no socket; write {UNIX}/run/agent.sock", Exit.USAGE)
    return path


def seconds(option: str, text: str, units: str = "smhd", example: str = "10m, 2h or 1d") -> int:
    """Read a duration such as ``10m`` in one of some units.

    Raises:
        Failure: it is none.
    """
    match = _DURATION.match(text)
    if match is None or match[2] not in units:
        raise Failure(f"{option} {text!r} is no duration; write {example}", Exit.USAGE)
    return int(match[1]) * _UNIT_S[match[2]]


def with_options(
    options: type[Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of a dataclass as its options, for commands that have many.

    The command has a parameter ``options``, which is an instance of the class::

        @dataclass(frozen=True, kw_only=True)
        class AgentOptions:
            xds: Annotated[str, typer.Option(help="host:port")] = "127.0.0.1:18000"

        @app.command("agent")
        @with_options(AgentOptions)
        def agent(options: AgentOptions) -> None: ...

    Typer reads a function's signature, so the decorated function gets one that has the fields in
    place of that parameter. It is called with keywords only.
    """
    hints = get_type_hints(options, include_extras=True)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(command, eval_str=True).parameters.values()
        others = [one for one in parameters if one.name != "options"]

        @functools.wraps(command)
        def called(**values: Any) -> None:
            rest = {one.name: values.pop(one.name) for one in others}
            command(**rest, options=options(**values))

        shown = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in others]
        shown += [_parameter(field, hints[field.name]) for field in fields(options)]
        called.__dict__["__signature__"] = inspect.Signature(shown)
        called.__annotations__ = {one.name: one.annotation for one in shown}
        return called

    return decorate


def _parameter(field: Field[Any], hint: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
    )
