"""``cellway apply|diff|export``: cells and rulesets as files.

A directory has ``cells/NAME.yaml``, ``rulesets/NAME.json`` and ``topology.yaml`` with
``active: NAME``. A single file has all three: ``cells`` (a list), ``rulesets`` (by name) and
``active``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from control_plane.cli.client import DIFFERENT, Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import Format, messages, show

MAX_FILE_BYTES = 2 << 20
_FIELDS = frozenset({"cells", "rulesets", "active"})
_ENDINGS = frozenset({".yaml", ".yml", ".json"})
_UNCHANGING = frozenset({"version", "healthy"})
Files = Annotated[Path, typer.Option("-f", "--files", exists=True, help="a directory or a file")]
Prune = Annotated[bool, typer.Option(help="delete cells that no file names")]


def read(path: Path) -> dict[str, Any]:
    """The document that files make together; raises `Failure` naming the file that is wrong."""
    if path.is_file():
        document = _load(path)
        if not isinstance(document, dict) or not document.keys() <= _FIELDS:
            raise Failure(f"{path} has other fields than {sorted(_FIELDS)}", Exit.USAGE)
        return document
    document = {
        "cells": [_named(one) for one in _files(path / "cells")],
        "rulesets": {one.stem: _load(one) for one in _files(path / "rulesets")},
    }
    whole = path / "topology.yaml"
    if whole.exists():
        more = _load(whole)
        if not isinstance(more, dict) or not more.keys() <= {"active"}:
            raise Failure(f"{whole} has other fields than 'active'", Exit.USAGE)
        document |= more
    if not any(document.values()):
        raise Failure(f"{path} has neither cells/ nor rulesets/ nor topology.yaml", Exit.USAGE)
    return document


def _files(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from sorted(one for one in directory.iterdir() if one.suffix in _ENDINGS)


def _load(path: Path) -> Any:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Failure(f"{path} is larger than {MAX_FILE_BYTES} bytes", Exit.USAGE)
    try:
        text = path.read_text("utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise Failure(f"{path} can't be read: {error}", Exit.USAGE) from error


def _named(path: Path) -> dict[str, Any]:
    cell = _load(path)
    if not isinstance(cell, dict) or cell.get("name", path.stem) != path.stem:
        raise Failure(f"{path} has no cell named {path.stem}", Exit.USAGE)
    return {"name": path.stem, **cell}


def diff(
    ctx: typer.Context,
    files: Files,
    prune: Prune = False,
    plan: Annotated[Path | None, typer.Option(help="keep the plan here, for apply --plan")] = None,
) -> None:
    """Show what apply would change; exit status 2 if that is anything."""
    document = {**read(files), "prune": prune}
    answer = _put(ctx, document, None, dry_run=True)
    _show_plan(ctx, answer)
    if plan is not None:
        kept = {"base_revision": answer["base_revision"], "document": document}
        plan.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
        messages.print(f"{plan} holds the plan, from revision {answer['base_revision']}")
    if answer["changed"]:
        raise typer.Exit(DIFFERENT)


def apply(
    ctx: typer.Context,
    files: Annotated[
        Path | None, typer.Option("-f", "--files", exists=True, help="a directory or a file")
    ] = None,
    plan: Annotated[Path | None, typer.Option(exists=True, help="what diff --plan kept")] = None,
    prune: Prune = False,
    force: Annotated[bool, typer.Option(help="override a guard")] = False,
) -> None:
    """Make cells and rulesets as files say: all of it under one revision, or nothing.

    What was shown is what is done: if somebody changes a cell or a ruleset meanwhile, nothing is.
    """
    if (files is None) == (plan is None):
        raise Failure("give -f or --plan", Exit.USAGE)
    base: int | None = None
    if files is not None:
        document = {**read(files), "prune": prune}
    else:
        assert plan is not None
        kept = _load(plan)
        try:
            base, document = int(kept["base_revision"]), dict(kept["document"])
        except (KeyError, TypeError, ValueError) as error:
            raise Failure(f"{plan} is no plan; make one with diff --plan", Exit.USAGE) from error
    told = _put(ctx, document, base, dry_run=True, force=force)
    if of(ctx).dry_run or not told["changed"]:
        _show_plan(ctx, told)
        return
    _show_text(told)
    of(ctx).confirm(f"make {len(told['changed'])} changes?")
    done = _put(ctx, document, told["base_revision"], dry_run=False, force=force)
    messages.print(f"revision {done['revision']}: {len(done['changed'])} changes")
    if of(ctx).output is not Format.TABLE:
        show(done, of(ctx).output)


def _put(
    ctx: typer.Context,
    document: dict[str, Any],
    base: int | None,
    *,
    dry_run: bool,
    force: bool = False,
) -> dict[str, Any]:
    params = of(ctx).write_params(force=force)
    if dry_run:
        params = {"dry_run": True, "force": force or None}
    headers = {} if base is None else {"if-match": f'"{base}"'}
    answer: dict[str, Any] = (
        of(ctx)
        .client.call("PUT", "/v1/topology", body=document, params=params, headers=headers)
        .json()
    )
    return answer


def _show_plan(ctx: typer.Context, answer: dict[str, Any]) -> None:
    if of(ctx).output is Format.TABLE:
        _show_text(answer)
    else:
        show(answer, of(ctx).output)
    unmanaged = ", ".join(answer["unmanaged"])
    if unmanaged:
        messages.print(f"not in the files: {unmanaged}", markup=False)
    if not answer["changed"]:
        messages.print("nothing to change")


def _show_text(answer: dict[str, Any]) -> None:
    for change in answer["changed"]:
        print("\n".join(_lines(change)))


def _lines(change: dict[str, Any]) -> Iterator[str]:
    before, after = change["before"] or {}, change["after"] or {}
    sign = {"create": "+", "delete": "-"}.get(change["action"], "~")
    yield f"{sign} {change['kind']} {change['key']}: {change['action']}"
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if change["kind"] == "cell" and old != new and key not in _UNCHANGING:
            if change["action"] == "update":
                yield f"    {key}: {_short(old)} -> {_short(new)}"
            else:
                yield f"    {key}: {_short(new if change['action'] == 'create' else old)}"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="where to; made if it isn't there")],
    force: Annotated[bool, typer.Option(help="overwrite what is there")] = False,
) -> None:
    """Write cells and rulesets as files that apply and diff take."""
    answer = of(ctx).client.get("/v1/topology")
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir()) and not force):
        raise Failure(f"{directory} is not empty; --force overwrites", Exit.CONFLICT)
    for name in ("cells", "rulesets"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for cell in answer["cells"]:
        _write(directory / "cells" / f"{cell['name']}.yaml", _yaml(cell))
    for name, document in answer["rulesets"].items():
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        _write(directory / "rulesets" / f"{name}.json", text)
    active = {"active": answer["active"]} if answer["active"] else {}
    _write(directory / "topology.yaml", _yaml(active))
    counts = {"cells": len(answer["cells"]), "rulesets": len(answer["rulesets"])}
    messages.print(f"revision {answer['revision']}: {counts['cells']} cells in {directory}")
    if of(ctx).output is not Format.TABLE:
        show(
            {"revision": answer["revision"], "directory": str(directory), **counts}, of(ctx).output
        )


def _yaml(data: Any) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
