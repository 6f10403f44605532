"""The ``cellway`` command: its commands put together, and the options that all of them share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from control_plane import __version__
from control_plane.cli import (
    addon,
    apply,
    audit,
    cells,
    changes,
    claims,
    db,
    edge_secret,
    envoy,
    explain,
    export,
    fleet,
    operations,
    rules,
    serve,
    simulate,
    tokens,
    up,
)
from control_plane.cli.client import ClientTls
from control_plane.cli.context import Context
from control_plane.cli.ending import run_to_end
from control_plane.cli.output import Format

_HELP = """Cell-based routing for Envoy.

The options below may stand before or after a command: cellway cells list -o json

Exit statuses: 0 done, 1 error, 2 wrong usage (of diff and simulate: there are differences), 3 not
found, 4 conflict, 5 denied, 6 refused, 7 timed out, 130 Ctrl-C, 141 the reader of the output has
ended.
"""
# Without rich's boxes an option is never cut, however narrow the terminal is.
app = typer.Typer(
    no_args_is_help=True,
    help=_HELP,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("serve")(serve.serve)
app.command("explain")(explain.explain)
app.command("simulate")(simulate.simulate)
app.command("changes")(changes.changes)
app.command("audit")(audit.audit)
app.command("apply")(apply.apply)
app.command("diff")(apply.diff)
app.command("export")(export.export)
app.command("addon-path")(addon.addon_path)
app.add_typer(cells.app, name="cells")
app.add_typer(claims.app, name="claims")
app.add_typer(rules.app, name="rules")
app.add_typer(fleet.app, name="fleet")
app.add_typer(edge_secret.app, name="edge-secret")
app.add_typer(envoy.app, name="envoy")
app.add_typer(db.app, name="db")
app.add_typer(operations.app, name="operations")
app.add_typer(tokens.app, name="token")


def _version(asked: bool) -> None:
    if asked:
        print(f"cellway {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    server: Annotated[
        str, typer.Option(envvar="CELLWAY_SERVER", help="address of the API")
    ] = "http://127.0.0.1:8000",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="CELLWAY_TOKEN", help="token of the API; set the variable: others see arguments"
        ),
    ] = None,
    server_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="CELLWAY_SERVER_CA", help="PEM: who signs the server's certificate (https)"
        ),
    ] = None,
    client_certificate: Annotated[
        Path | None,
        typer.Option(
            envvar="CELLWAY_CLIENT_CERTIFICATE", help="PEM: your certificate and its key (https)"
        ),
    ] = None,
    output: Annotated[
        Format, typer.Option("-o", "--output", help="how data is printed on stdout")
    ] = Format.TABLE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="answer yes to all questions")] = False,
    no_input: Annotated[
        bool, typer.Option("--no-input", help="ask nothing; fail where an answer is needed")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="say what would change, and change nothing")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="after a write, wait until all Envoys run it")
    ] = False,
    timeout: Annotated[
        str, typer.Option(help="how long --wait waits: 500ms, 5s or 1m; at most 5m")
    ] = "5s",
    version: Annotated[  # noqa: ARG001 - its callback does everything
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="print it and end"),
    ] = False,
) -> None:
    """Keep the options that all commands share."""
    if token is None:
        # Typer takes an empty variable for one that is not set.
        token = os.environ.get("CELLWAY_TOKEN")
    no_input = no_input or not sys.stdin.isatty()
    tls = ClientTls(server_ca, client_certificate)
    context = Context(server, token, output, yes, no_input, dry_run, wait, timeout, tls)
    ctx.obj = context
    ctx.call_on_close(context.close)


_FLAGS = frozenset({"--yes", "-y", "--no-input", "--dry-run", "-n", "--wait"})
_VALUED = frozenset(
    {"--server", "--token", "-o", "--output", "--timeout", "--server-ca", "--client-certificate"}
)


def hoist(arguments: list[str]) -> list[str]:
    """Put the options that all commands share first, so that they may stand after the command too.

    For example ``cells list -o json`` becomes ``-o json cells list``. What follows ``--`` stays.
    """
    common: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument in _FLAGS or _has_value(argument):
            common.append(argument)
        elif argument in _VALUED:
            value = next(remaining, None)
            common += [argument] if value is None else [argument, value]
        else:
            rest.append(argument)
    return [*common, *rest]


def _has_value(argument: str) -> bool:
    """Tell whether it is a shared option with its value: ``--output=json`` or ``-ojson``."""
    name, equals, _ = argument.partition("=")
    return (bool(equals) and name in _VALUED) or argument in {f"-o{form}" for form in Format}


def command() -> None:
    """Run the command that the arguments name."""
    app(hoist(sys.argv[1:]), prog_name="cellway")


def main() -> None:
    """Run a command; a failure goes to stderr, and its status becomes the exit status."""
    sys.exit(run_to_end(command))


if __name__ == "__main__":
    main()
