"""The ``cellway`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from control_plane.cli import (
    apply,
    cells,
    changes,
    claims,
    db,
    envoy,
    operations,
    rules,
    serve,
    tokens,
)
from control_plane.cli.client import Failure
from control_plane.cli.context import Context
from control_plane.cli.output import Format, messages

app = typer.Typer(no_args_is_help=True, help="Cell-based routing for Envoy.", add_completion=True)
app.add_typer(cells.app, name="cells")
app.add_typer(claims.app, name="claims")
app.add_typer(rules.app, name="rules")
app.add_typer(changes.fleet, name="fleet")
app.add_typer(serve.envoy, name="envoy")
serve.envoy.command("agent")(envoy.envoy_agent)
app.add_typer(db.db, name="db")
app.add_typer(operations.app, name="operations")
app.add_typer(tokens.app, name="token")
app.command("audit")(changes.audit)
app.command("explain")(changes.explain)
app.command("changes")(changes.changes)
app.command("apply")(apply.apply)
app.command("diff")(apply.diff)
app.command("export")(apply.export)
app.command("serve")(serve.serve_command)
app.command("up")(serve.up_command)


@app.callback()
def options(
    ctx: typer.Context,
    server: Annotated[
        str, typer.Option(envvar="CELLWAY_SERVER", help="the API's address")
    ] = "http://127.0.0.1:8000",
    token: Annotated[
        str | None, typer.Option(envvar="CELLWAY_TOKEN", help="better in the environment")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output")] = Format.TABLE,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="don't ask")] = False,
    no_input: Annotated[bool, typer.Option("--no-input", help="never ask; fail instead")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="only tell")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="until the fleet runs it")] = False,
    timeout: Annotated[str, typer.Option(help="of --wait")] = "5s",
) -> None:
    """Options come before the command: cellway -o json cells list."""
    no_ask = no_input or not sys.stdin.isatty()
    ctx.obj = Context(server, token, output, yes, no_ask, dry_run, wait, timeout)


_FLAGS = frozenset({"--yes", "-y", "--no-input", "--dry-run", "-n", "--wait"})
_VALUED = frozenset({"--server", "--token", "-o", "--output", "--timeout"})


def hoist(arguments: list[str]) -> list[str]:
    """Put the common options first, so that they may stand after the command as well."""
    common: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in _FLAGS or _with_value(argument):
            common.append(argument)
        elif argument in _VALUED:
            common += [argument, *(value for value in [next(waiting, None)] if value is not None)]
        else:
            rest.append(argument)
    return [*common, *rest]


def _with_value(argument: str) -> bool:
    """Whether it is a common option and its value in one: --output=json or -ojson."""
    name, equals, _ = argument.partition("=")
    return (bool(equals) and name in _VALUED) or argument in {f"-o{form}" for form in Format}


def main() -> None:
    """Run; failures go to stderr in one line each, with their exit status."""
    try:
        app(hoist(sys.argv[1:]), prog_name="cellway")
    except Failure as failure:
        messages.print(f"cellway: {failure}", style="red", markup=False)
        sys.exit(int(failure.status))


if __name__ == "__main__":
    main()
