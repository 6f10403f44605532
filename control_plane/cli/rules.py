"""``cellway rules``: list, show, lint, tiers, test, diff, apply, rollback."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.client import DIFFERENT, Exit, Failure, resource
from control_plane.cli.context import of
from control_plane.cli.output import Format, messages, print_lines, show, table_of, table_of_items
from control_plane.cli.reserved_words import read_table, reserve_in, write_ruleset, write_table
from control_plane.cli.ruleset_file import RulesetFile, RulesetOption
from control_plane.names import MAX_DOCUMENT_BYTES
from control_plane.routing.rules.lint import Finding, lint
from control_plane.routing.rules.problems import RulesetError

app = typer.Typer(no_args_is_help=True, help="Rulesets: how a request finds its cell.")


@app.command("list")
def list_rules(ctx: typer.Context) -> None:
    """List every version of every ruleset."""
    items = of(ctx).client.get("/v1/rulesets")["items"]
    rows = [
        (r["name"], r["version"], "active" if r["active"] else "", r["author"], r["created_at"])
        for r in items
    ]
    of(ctx).show(items, table_of(("NAME", "VERSION", "", "AUTHOR", "CREATED"), rows))


@app.command("show")
def show_rules(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="name of a ruleset; active: the one that routes")] = (
        "active"
    ),
    version: Annotated[int | None, typer.Option(help="default: the newest")] = None,
) -> None:
    """Print a ruleset (JSON)."""
    answer = of(ctx).client.get(resource("rulesets", name), version=version)
    if "document" not in answer:
        raise Failure("no ruleset is active", Exit.NOT_FOUND)
    messages.print(f"{answer['name']} version {answer['version']}")
    # A ruleset is a JSON file: that is its table.
    output = of(ctx).output
    show(answer["document"], Format.JSON if output is Format.TABLE else output)


@app.command("lint")
def lint_rules(ctx: typer.Context, file: RulesetFile) -> None:
    """Check a ruleset without a server; exit status 1 if it can't work."""
    from control_plane.cli import rule_tiers

    text = _read(file)
    findings = lint(text)
    if not any(finding.severity == "error" for finding in findings):
        findings += rule_tiers.findings(rule_tiers.tiers(text))
    _print_findings(findings)
    of(ctx).show_data([_finding_document(finding) for finding in findings])
    if any(finding.severity == "error" for finding in findings):
        raise Failure(f"{file} can't work")
    messages.print(f"{file}: no errors, {len(findings)} warnings")


@app.command("tiers")
def show_tiers(ctx: typer.Context, file: RulesetFile) -> None:
    """Show which tier of the edge answers each rule, and what keeps it from a faster one."""
    from control_plane.cli import rule_tiers

    text = _read(file)
    try:
        rules = rule_tiers.tiers(text)
    except RulesetError as error:
        _lint(text)
        raise Failure(f"{file} can't work") from error
    items = rule_tiers.documents(rules)
    of(ctx).show(items, table_of_items(rule_tiers.FIELDS, items))


@app.command("test")
def check_rules(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="cases (YAML or JSON)")],
    rules: RulesetOption = None,
) -> None:
    """Check without a server whether requests go where test cases say; exit status 1 if not."""
    from control_plane.cli import rule_case_results, rule_cases

    cases = rule_cases.read(file)
    ruleset = rule_cases.ruleset_of(cases, file, rules)
    results = rule_case_results.run(cases, ruleset)
    failed = [result for result in results if not result["ok"]]
    if of(ctx).output is Format.TABLE:
        for result in results:
            print_lines(rule_case_results.as_text(result).split("\n"))
    of(ctx).show_data(results)
    if failed:
        raise Failure(f"{file}: {len(failed)} of {len(results)} cases are not as expected")
    messages.print(f"{file}: {len(results)} cases are as expected", markup=False)


@app.command("reserve")
def reserve_words(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a ruleset (JSON)")],
    routes: Annotated[
        list[Path],
        typer.Option(exists=True, dir_okay=False, help="a route table; several are joined"),
    ],
    save: Annotated[
        Path | None, typer.Option(dir_okay=False, help="keep the routes that matter here")
    ] = None,
) -> None:
    """Rewrite a ruleset so that no name takes over a page of a route table.

    Example: cellway rules reserve rulesets/gitlab.json --routes gitlab_routes.json
    """
    document = _document(file, _read(file))
    reserved = reserve_in(file, document, map(read_table, routes))
    if not of(ctx).dry_run:
        write_ruleset(file, reserved.document)
        if save is not None:
            write_table(save, reserved.routes)
    changed = reserved.document != document
    outcome = "its guards have changed" if changed else "its guards are the same"
    messages.print(f"{file}: {outcome}; {len(reserved.routes)} routes matter", markup=False)
    of(ctx).show_data({"changed": changed, "routes": [one.template for one in reserved.routes]})


@app.command("diff")
def diff_rules(ctx: typer.Context, file: RulesetFile) -> None:
    """Compare a ruleset with the active one; exit status 2 if they differ."""
    active = of(ctx).client.get("/v1/rulesets/active")
    old = _lines(active["document"]) if "document" in active else []
    new = _lines(_document(file, _read(file)))
    lines = list(difflib.unified_diff(old, new, "active", str(file), lineterm=""))
    if of(ctx).output is Format.TABLE and lines:
        print_lines(lines)
    of(ctx).show_data({"same": not lines, "diff": lines})
    messages.print(f"{file} {'differs from' if lines else 'is'} the active ruleset", markup=False)
    if lines:
        raise typer.Exit(DIFFERENT)


def _lines(document: Any) -> list[str]:
    return json.dumps(document, indent=2, ensure_ascii=False).splitlines()


@app.command("apply")
def apply_rules(
    ctx: typer.Context,
    file: RulesetFile,
    name: Annotated[str | None, typer.Option(help="default: the name in the file")] = None,
) -> None:
    """Keep a ruleset as a new version and make it the active one.

    Example: cellway rules apply gitlab --wait
    """
    text = _read(file)
    if any(finding.severity == "error" for finding in _lint(text)):
        raise Failure(f"{file} can't work; nothing was changed")
    document = _document(file, text)
    ruleset = name or (document.get("name") if isinstance(document, dict) else None)
    if not isinstance(ruleset, str):
        raise Failure(f"{file} has no name; give --name", Exit.USAGE)
    body = document if isinstance(document, dict) else {"rules": document}
    # The activation is what the fleet has to run, so only that is waited for.
    answer = of(ctx).write("PUT", resource("rulesets", ruleset), body, intermediate=True)
    if of(ctx).dry_run:
        messages.print("it can work; nothing was changed (dry run)")
        of(ctx).show(answer)
        return
    _activate(ctx, ruleset, answer["ruleset"]["version"])


@app.command("rollback")
def rollback_rules(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="name of a ruleset")],
    version: Annotated[int, typer.Option(help="the version to go back to; see rules list")],
) -> None:
    """Make an earlier version of a ruleset the active one.

    Example: cellway rules rollback gitlab --version 3 --wait
    """
    of(ctx).confirm(f"route by {name} version {version} from now on?")
    _activate(ctx, name, version)


def _activate(ctx: typer.Context, name: str, version: int) -> None:
    path = resource("rulesets", name, "activate")
    answer = of(ctx).write("POST", path, {"version": version})
    if answer.get("dry_run"):
        messages.print(f"{name} version {version} would route; nothing was changed (dry run)")
        of(ctx).show(answer)
        return
    messages.print(f"revision {answer['revision']}: {name} version {version} routes now")
    of(ctx).show(answer["ruleset"])


def _read(file: Path) -> str:
    if file.stat().st_size > MAX_DOCUMENT_BYTES:
        raise Failure(f"{file} is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{file} is not UTF-8: {error}", Exit.USAGE) from error


def _document(file: Path, text: str) -> Any:
    try:
        document = json.loads(text)
        json.dumps(document, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{file} is not JSON: {error}", Exit.USAGE) from error
    return document


def _finding_document(finding: Finding) -> dict[str, Any]:
    """Return a finding as data, with the fields that the REST API gives it."""
    return {
        "severity": finding.severity,
        "rule": finding.rule,
        "field": finding.field,
        "message": finding.message,
        "mend": finding.hint,
    }


def _lint(text: str) -> list[Finding]:
    """Print what is wrong with a ruleset, and return it."""
    findings = lint(text)
    _print_findings(findings)
    return findings


def _print_findings(findings: Iterable[Finding]) -> None:
    for one in findings:
        where = f"{one.rule or '-'}: {one.field}"
        messages.print(f"{one.severity}: {where}: {one.message} ({one.hint})", markup=False)
