"""The options that all commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import typer

from control_plane.cli.client import Client, Exit, Failure
from control_plane.cli.output import Format


@dataclass(frozen=True, slots=True)
class Context:
    """What the global options say."""

    server: str
    token: str | None
    output: Format
    yes: bool
    no_input: bool
    dry_run: bool
    wait: bool
    timeout: str

    @property
    def client(self) -> Client:
        """A client of the chosen server."""
        return Client(self.server, self.token)

    def write_params(self, *, force: bool = False) -> dict[str, Any]:
        """The query parameters of a write."""
        params: dict[str, Any] = {"dry_run": self.dry_run or None, "force": force or None}
        if self.wait and not self.dry_run:
            params |= {"wait": "fleet", "timeout": self.timeout}
        return params

    def confirm(self, question: str) -> None:
        """Ask before something severe, unless told not to; raises `Failure` on no."""
        if self.yes or self.dry_run:
            return
        if self.no_input:
            raise Failure(f"{question} needs --yes", Exit.USAGE)
        if not typer.confirm(question, err=True):
            raise Failure("nothing was changed", Exit.REFUSED)


def of(ctx: typer.Context) -> Context:
    """The context of a command."""
    return cast("Context", ctx.obj)
