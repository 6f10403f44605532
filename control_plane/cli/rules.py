"""``cellway rules``."""

from __future__ import annotations

import dataclasses
import difflib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.client import DIFFERENT, Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import Format, messages, show, table_of
from control_plane.names import MAX_DOCUMENT_BYTES
from control_plane.routing.rules.lint import Finding, lint

app = typer.Typer(no_args_is_help=True, help="Rulesets: how a request finds its cell.")
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a ruleset (JSON)")]


def _read(path: Path) -> str:
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        raise Failure(f"{path} is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is not UTF-8: {error}", Exit.USAGE) from error


def _document(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} is not JSON: {error}", Exit.USAGE) from error


def _lint(text: str) -> list[Finding]:
    findings = lint(text)
    for finding in findings:
        where = f"{finding.rule or '-'}: {finding.field}"
        messages.print(
            f"{finding.severity}: {where}: {finding.message} ({finding.hint})", markup=False
        )
    return findings


@app.command("list")
def list_rules(ctx: typer.Context) -> None:
    """List every version of every ruleset."""
    items = of(ctx).client.get("/v1/rulesets")["items"]
    rows = [
        (r["name"], r["version"], "active" if r["active"] else "", r["author"], r["created_at"])
        for r in items
    ]
    show(items, of(ctx).output, table_of(("NAME", "VERSION", "", "AUTHOR", "CREATED"), rows))


@app.command("show")
def show_rules(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="default: the active one")] = "active",
    version: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Print a ruleset's document."""
    answer = of(ctx).client.get(resource("rulesets", name), version=version)
    if "document" not in answer:
        raise Failure("no ruleset is active", Exit.NOT_FOUND)
    messages.print(f"{answer['name']} version {answer['version']}")
    # A ruleset is a JSON file: that is its table.
    output = of(ctx).output
    show(answer["document"], Format.JSON if output is Format.TABLE else output)


@app.command("lint")
def lint_rules(ctx: typer.Context, file: File) -> None:
    """Check a ruleset file without a server; exit status 1 if it can't work."""
    findings = _lint(_read(file))
    if of(ctx).output is not Format.TABLE:
        show([dataclasses.asdict(finding) for finding in findings], of(ctx).output)
    if any(finding.severity == "error" for finding in findings):
        raise Failure(f"{file} can't work")
    messages.print(f"{file}: no errors, {len(findings)} warnings")


@app.command("test")
def check_rules(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="cases (YAML or JSON)")],
    rules: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="instead of the file's ruleset")
    ] = None,
) -> None:
    """Check without a server what a ruleset makes of requests; exit status 1 on a surprise."""
    from control_plane.cli import rule_cases

    cases = rule_cases.read(file)
    ruleset = rule_cases.ruleset_of(cases, file, rules)
    results = rule_cases.run(cases, ruleset)
    failed = [result for result in results if not result["ok"]]
    if of(ctx).output is Format.TABLE:
        for result in results:
            print(rule_cases.as_text(result))
    else:
        show(results, of(ctx).output)
    if failed:
        raise Failure(f"{file}: {len(failed)} of {len(results)} cases are not as expected")
    messages.print(f"{file}: {len(results)} cases are as expected", markup=False)


@app.command("diff")
def diff_rules(ctx: typer.Context, file: File) -> None:
    """Compare a file with the active ruleset; exit status 2 if they differ."""
    active = of(ctx).client.get("/v1/rulesets/active")
    old = _lines(active["document"]) if "document" in active else []
    new = _lines(_document(file, _read(file)))
    lines = list(difflib.unified_diff(old, new, "active", str(file), lineterm=""))
    if of(ctx).output is not Format.TABLE:
        show({"same": not lines, "diff": lines}, of(ctx).output)
    elif lines:
        print("\n".join(lines))
    messages.print(f"{file} {'differs from' if lines else 'is'} the active ruleset", markup=False)
    if lines:
        raise typer.Exit(DIFFERENT)


def _lines(document: Any) -> list[str]:
    return json.dumps(document, indent=2, ensure_ascii=False).splitlines()


@app.command("apply")
def apply_rules(
    ctx: typer.Context,
    file: File,
    name: Annotated[str | None, typer.Option(help="default: the name in the file")] = None,
) -> None:
    """Keep a file as a new version and make it the active one."""
    text = _read(file)
    if any(finding.severity == "error" for finding in _lint(text)):
        raise Failure(f"{file} can't work; nothing was changed")
    document = _document(file, text)
    wanted = name or (document.get("name") if isinstance(document, dict) else None)
    if not wanted:
        raise Failure("the file has no name; give --name", Exit.USAGE)
    client = of(ctx).client
    body = document if isinstance(document, dict) else {"rules": document}
    params = {"dry_run": of(ctx).dry_run or None}
    answer = client.call("PUT", resource("rulesets", wanted), body=body, params=params).json()
    if of(ctx).dry_run:
        messages.print("it can work; nothing was changed (dry run)")
        show(answer, of(ctx).output)
        return
    _activate(ctx, wanted, answer["ruleset"]["version"])


@app.command("rollback")
def rollback_rules(
    ctx: typer.Context,
    name: str,
    version: Annotated[int, typer.Option(help="the version to go back to")],
) -> None:
    """Make an earlier version the active one."""
    of(ctx).confirm(f"route by {name} version {version} from now on?")
    _activate(ctx, name, version)


def _activate(ctx: typer.Context, name: str, version: int) -> None:
    answer: dict[str, Any] = (
        of(ctx)
        .client.call(
            "POST",
            resource("rulesets", name, "activate"),
            body={"version": version},
            params=of(ctx).write_params(),
        )
        .json()
    )
    if answer.get("dry_run"):
        messages.print(f"{name} version {version} would route; nothing was changed (dry run)")
        show(answer, of(ctx).output)
        return
    messages.print(f"revision {answer['revision']}: {name} version {version} routes now")
    show(answer["ruleset"], of(ctx).output)
