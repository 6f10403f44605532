"""``cellway simulate``: which recorded requests a proposed ruleset would send elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from control_plane.cli import simulated_world
from control_plane.cli.claims_import import STDIN
from control_plane.cli.client import DIFFERENT, Client, Exit, Failure
from control_plane.cli.context import Context, of
from control_plane.cli.live_log import LiveLog
from control_plane.cli.options import seconds, with_options
from control_plane.cli.output import Format, messages, table_of
from control_plane.cli.ruleset_file import named_ruleset
from control_plane.simulation.comparison import Comparison
from control_plane.simulation.logs.log_file import BadLog, LogFile, LogFormat, Readable

MAX_ROWS = 50
"""Rows of the table; -o json has all groups."""
_COLUMNS = ("REQUESTS", "FROM", "TO", "RULE", "NEW RULE", "EXAMPLE")
_OF_PROPOSALS = frozenset({"FROM", "NEW RULE"})
"""Columns that say something only if something is proposed."""


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """By what the log is decided, and how it is read."""

    rules: Annotated[
        Path | None,
        typer.Option(
            help="the proposed ruleset: a file, or the name of one that comes with cellway",
            parser=named_ruleset,
            metavar="FILE|NAME",
        ),
    ] = None
    topology: Annotated[
        Path | None,
        typer.Option(exists=True, help="ask no server: cells and active ruleset, as export writes"),
    ] = None
    claims: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="with --topology: claims, as claims export writes"
        ),
    ] = None
    proposed_topology: Annotated[
        Path | None,
        typer.Option(exists=True, help="the proposed cells, in files as export writes them"),
    ] = None
    format: Annotated[
        LogFormat | None, typer.Option(help="of the log; default: told by its content")
    ] = None
    host: Annotated[str, typer.Option(help="the host of requests for which the log tells none")] = (
        "localhost"
    )
    examples: Annotated[
        int, typer.Option(min=0, max=100, help="requests that are shown of each group")
    ] = 3

    seconds: Annotated[
        str | None,
        typer.Option(
            "--for", help="with -: read a log that is being written, for so long: 60s or 10m"
        ),
    ] = None

    @property
    def is_proposal(self) -> bool:
        """Whether anything is proposed."""
        return self.rules is not None or self.proposed_topology is not None


@with_options(SimulateOptions)
def simulate(
    ctx: typer.Context,
    log: Annotated[
        str, typer.Argument(help="Envoy JSON access log, combined log or HAR; .gz too; - is stdin")
    ],
    options: SimulateOptions,
) -> None:
    """Show which recorded requests would go elsewhere; exit status 2 if any would.

    Nothing is sent and nothing changes. Without a proposal it shows where the requests go now.

    Example: cellway simulate access.log.gz --rules new.json

    Live traffic: tail -F access.log | cellway simulate - --for 60s --rules new.json
    """
    known = _known(of(ctx).client if options.topology is None else None, options)
    proposed = simulated_world.proposed(known.world, options.rules, options.proposed_topology)
    known.check_claims(proposed)
    comparison = Comparison(known.world, proposed, known.owners, options.examples)
    try:
        with _opened(log, options.seconds) as (source, progress):
            comparison.run(LogFile(source, options.format), options.host, progress)
    except BadLog as error:
        raise Failure(f"{log} can't be read: {error}", Exit.USAGE) from error
    report = known.revisions() | comparison.tally.as_dict()
    _show(of(ctx), report, is_proposal=options.is_proposal)
    _say(log, report, is_proposal=options.is_proposal)
    if report["different"]:
        raise typer.Exit(DIFFERENT)


def _known(client: Client | None, options: SimulateOptions) -> simulated_world.Known:
    """Return the active world, of a server or else from files."""
    if client is None:
        assert options.topology is not None
        return simulated_world.of_files(options.topology, options.claims)
    if options.claims is not None:
        raise Failure("--claims is for --topology; a server knows its claims", Exit.USAGE)
    return simulated_world.of_server(client)


@contextmanager
def _opened(log: str, duration: str | None) -> Iterator[tuple[Readable, Callable[[int], None]]]:
    """Open a log; with it comes what is told of progress, which a terminal shows."""
    if duration is not None and log != STDIN:
        raise Failure("--for is for a log that comes through stdin; write -", Exit.USAGE)
    with ExitStack() as stack:
        file = sys.stdin.buffer if log == STDIN else stack.enter_context(Path(log).open("rb"))
        source: Readable = file
        if duration is not None:
            source = LiveLog(file.fileno(), seconds("--for", duration))
        total = None if log == STDIN else Path(log).stat().st_size
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        bar = Progress(
            *columns, TimeRemainingColumn(), console=messages, disable=not sys.stderr.isatty()
        )
        task = stack.enter_context(bar).add_task("simulate", total=total)

        def progress(lines: int) -> None:
            done = None if total is None else file.tell()
            bar.update(task, completed=done, description=f"simulate: {lines:,} lines")

        yield source, progress


def _show(context: Context, report: dict[str, Any], *, is_proposal: bool) -> None:
    output = context.output
    groups = [one for one in report["groups"] if one["different"] or not is_proposal]
    if output is Format.TABLE and not groups:
        return
    rows = [_row(one) for one in groups[:MAX_ROWS]]
    columns = _COLUMNS if is_proposal else [one for one in _COLUMNS if one not in _OF_PROPOSALS]
    table = table_of(columns, [[row[one] for one in columns] for row in rows])
    context.show(report, table)
    if output is Format.TABLE and len(groups) > MAX_ROWS:
        messages.print(f"there are {len(groups) - MAX_ROWS} more groups; -o json shows all")


def _row(group: dict[str, Any]) -> dict[str, Any]:
    before, after, examples = group["from"], group["to"], group["examples"]
    return {
        "REQUESTS": group["count"],
        "FROM": _where(before),
        "TO": _where(after),
        "RULE": before["rule"] or "-",
        "NEW RULE": after["rule"] or "-",
        "EXAMPLE": "{method} {host}{path}".format(**examples[0]) if examples else "",
    }


def _where(side: dict[str, Any]) -> str:
    if "cell" in side:
        return str(side["cell"])
    if "weighted" in side:
        return "any of " + ", ".join(side["weighted"])
    return f"status {side['status']}"


def _say(log: str, report: dict[str, Any], *, is_proposal: bool) -> None:
    """Say on stderr what became of the log.

    Raises:
        Failure: None of its lines can be read.
    """
    unreadable = report["unreadable"]
    lines = [f"  line {one['line']}: {one['why']}" for one in unreadable["first"]]
    if unreadable["count"] and not report["requests"]:
        raise Failure("\n".join([f"no line of {log} can be read", *lines]), Exit.USAGE)
    text = f"{report['requests']:,} requests"
    if is_proposal:
        text += f": {report['different']:,} would go elsewhere"
        text += f", {report['by_other_rule']:,} to the same place by another rule"
    messages.print(text, markup=False)
    if unreadable["count"]:
        head = f"{unreadable['count']:,} lines can't be read, and don't count"
        messages.print("\n".join([head, *lines]), markup=False)
