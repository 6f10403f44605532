"""``cellway apply`` and ``diff``: the topology becomes what files say.

Both send the files to ``PUT /v1/topology``. A dry run of it answers with the changes that it would
make and the revision that they are based on; with that revision in ``If-Match`` the write makes
exactly these changes, or none. A plan is a file with that revision and the document, so that
somebody can review the changes before somebody else makes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli import topology_files
from control_plane.cli.client import DIFFERENT, Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.options import Force, Why
from control_plane.cli.output import Format, messages, plain, print_lines

_FILES_HELP = "a directory as export writes it, or one file with all of it"
Files = Annotated[Path, typer.Option("-f", "--files", exists=True, help=_FILES_HELP)]
FilesOrNone = Annotated[Path | None, typer.Option("-f", "--files", exists=True, help=_FILES_HELP)]
Prune = Annotated[bool, typer.Option(help="delete cells that no file names")]
_UNCHANGING = frozenset({"version", "healthy", "share", "reason"})
"""Attributes of a cell that no file sets."""


def diff(
    ctx: typer.Context,
    files: Files,
    prune: Prune = False,
    plan: Annotated[Path | None, typer.Option(help="write the plan here, for apply --plan")] = None,
) -> None:
    """Show what apply would change; exit status 2 if that is anything."""
    document = {**topology_files.read(files), "prune": prune}
    answer = _put(ctx, document, None, preview=True)
    _show_plan(ctx, answer)
    if plan is not None:
        planned = {"base_revision": answer["base_revision"], "document": document}
        plan.write_text(json.dumps(planned, indent=2, ensure_ascii=False) + "\n")
        messages.print(f"{plan} holds the plan, from revision {answer['base_revision']}")
    if answer["changed"]:
        raise typer.Exit(DIFFERENT)


def apply(
    ctx: typer.Context,
    files: FilesOrNone = None,
    plan: Annotated[
        Path | None, typer.Option(exists=True, help="a plan of diff --plan, instead of -f")
    ] = None,
    prune: Prune = False,
    force: Force = False,
    reason: Why = None,
) -> None:
    """Make cells and rulesets as files say: all changes under one revision, or none.

    It shows the changes, asks, and makes exactly these: if somebody changes a cell or a ruleset
    in between, nothing is changed (exit status 4).
    """
    if force and reason is None:
        raise Failure("--force needs --reason: say why guards are overridden", Exit.USAGE)
    document, base = _document(files, plan, prune=prune)
    planned = _put(ctx, document, base, preview=True, force=force, reason=reason)
    if of(ctx).dry_run or not planned["changed"]:
        _show_plan(ctx, planned)
        return
    _show_changes(planned)
    of(ctx).confirm(f"make {len(planned['changed'])} changes?")
    done = _put(ctx, document, planned["base_revision"], force=force, reason=reason)
    messages.print(f"revision {done['revision']}: {len(done['changed'])} changes")
    of(ctx).show_data(done)


def _document(
    files: Path | None, plan: Path | None, *, prune: bool
) -> tuple[dict[str, Any], int | None]:
    """Return what the API is sent, and the revision that a plan was made from."""
    if files is not None and plan is None:
        return {**topology_files.read(files), "prune": prune}, None
    if files is not None or plan is None:
        raise Failure("give -f or --plan, one of them", Exit.USAGE)
    planned = topology_files.load(plan)
    try:
        return dict(planned["document"]), int(planned["base_revision"])
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(f"{plan} is no plan; make one with diff --plan", Exit.USAGE) from error


def _put(
    ctx: typer.Context,
    document: dict[str, Any],
    base: int | None,
    *,
    force: bool = False,
    reason: str | None = None,
    preview: bool = False,
) -> dict[str, Any]:
    if_match = None if base is None else f'"{base}"'
    return of(ctx).write(
        "PUT",
        "/v1/topology",
        document,
        force=force,
        reason=reason,
        if_match=if_match,
        preview=preview,
    )


def _show_plan(ctx: typer.Context, answer: dict[str, Any]) -> None:
    if of(ctx).output is Format.TABLE:
        _show_changes(answer)
    of(ctx).show_data(answer)
    unmanaged = ", ".join(answer["unmanaged"])
    if unmanaged:
        messages.print(f"not in the files: {unmanaged}", markup=False)
    if not answer["changed"]:
        messages.print("nothing to change")


def _show_changes(answer: dict[str, Any]) -> None:
    for change in answer["changed"]:
        print_lines(_lines(change))


def _lines(change: dict[str, Any]) -> Iterator[str]:
    """Yield a change in lines, such as ``~ cell c1: update`` and ``    weight: 100 -> 7``."""
    before, after = change["before"] or {}, change["after"] or {}
    sign = {"create": "+", "delete": "-"}.get(change["action"], "~")
    yield f"{sign} {change['kind']} {change['key']}: {change['action']}"
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if change["kind"] == "cell" and old != new and key not in _UNCHANGING:
            if change["action"] == "update":
                yield f"    {key}: {plain(old)} -> {plain(new)}"
            else:
                yield f"    {key}: {plain(new if change['action'] == 'create' else old)}"
