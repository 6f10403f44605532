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
) -> None:
    """Show which cell a request would reach, by which rule, and why. No request is sent.

    Example: cellway explain https://gitlab.example/gitlab-org -b '_gitlab_session=c1-abc'
    """
    headers = [_header(text) for text in header or []]
    headers += [("cookie", text) for text in cookie or []]
    body = {"url": url, "method": method, "headers": headers}
    answer = of(ctx).client.document("POST", "/v1/explain", body=body)
    title = f"{_outcome(answer['outcome'])} by rule {answer['rule'] or '-'}: {answer['reason']}"
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
