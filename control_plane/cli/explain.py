"""``cellway explain``: which cell a request would reach, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from control_plane.cli.client import Exit, Failure
from control_plane.cli.context import of
from control_plane.cli.output import messages, table_of_items

_COLUMNS = {"RULE": "rule", "RESULT": "result", "WHY": "why"}


def explain(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="https://host/path, or /path")],
    method: Annotated[str, typer.Option("-X", "--request", help="its method")] = "GET",
    header: Annotated[
        list[str] | None, typer.Option("-H", "--header", help="'Name: value'; repeat for more")
    ] = None,
    cookie: Annotated[
        list[str] | None, typer.Option("-b", "--cookie", help="'a=1; b=2'; repeat for more")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="decide as was decided then: a revision, or a time such as 2026-11-30T03:12Z"
        ),
    ] = None,
) -> None:
    """Show which cell a request would reach, by which rule, and why. No request is sent.

    Example: cellway explain https://gitlab.example/gitlab-org -b '_gitlab_session=c1-abc'
    """
    headers = [_header(text) for text in header or []]
    headers += [("cookie", text) for text in cookie or []]
    body: dict[str, Any] = {"url": url, "method": method, "headers": headers}
    if at is not None:
        body["at"] = int(at) if at.isascii() and at.isdigit() and len(at) < 19 else at
    answer = of(ctx).client.document("POST", "/v1/explain", body=body)
    title = f"{_outcome(answer['outcome'])} by rule {answer['rule'] or '-'}: {answer['reason']}"
    if at is not None:
        title = f"at revision {answer['revision']}: {title}"
    messages.print(title, markup=False)
    of(ctx).show(answer, table_of_items(_COLUMNS, answer["trace"]))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise Failure(f"{text!r} is no header; write 'Name: value'", Exit.USAGE)
    return name.strip(), value.strip()


def _outcome(outcome: dict[str, Any]) -> str:
    if "cell" in outcome:
        return f"→ {outcome['cell']}"
    if "weighted" in outcome:
        shares = ", ".join(f"{cell} ({weight})" for cell, weight in outcome["weighted"].items())
        return f"→ any of {shares}"
    return f"→ refused with {outcome['status']}"
