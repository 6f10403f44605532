"""The options that all commands share: how a command writes, asks and shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import typer
from rich.table import Table

from control_plane.cli.client import Client, ClientTls, Exit, Failure
from control_plane.cli.output import Format, messages, show


@dataclass(frozen=True)
class Context:
    """The values of the options that all commands share."""

    server: str
    token: str | None
    output: Format
    yes: bool
    no_input: bool
    dry_run: bool
    wait: bool
    timeout: str
    tls: ClientTls | None = None

    @cached_property
    def client(self) -> Client:
        """A client of the server that the options name."""
        return Client(self.server, self.token, self.tls)

    def close(self) -> None:
        """Close the client's connections, if it has any."""
        if "client" in self.__dict__:
            self.client.close()

    def write(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        force: bool = False,
        reason: str | None = None,
        if_match: str | None = None,
        preview: bool = False,
        intermediate: bool = False,
    ) -> dict[str, Any]:
        """Write through the API, as --dry-run, --wait and --timeout say; return the answer.

        With --dry-run the answer has ``dry_run: true``, and nothing has changed.

        Args:
            force: do it although a guard refuses.
            reason: why, for the audit, where the API takes it as a parameter.
            preview: do as with --dry-run, whether that is given or not.
            intermediate: another write follows, so don't wait for the fleet yet.

        Raises:
            Failure: the API refuses it, or with --wait an Envoy does not run it in time.
        """
        dry_run = self.dry_run or preview
        params: dict[str, Any] = {"dry_run": dry_run or None, "force": force or None}
        params["reason"] = reason
        if self.wait and not dry_run and not intermediate:
            params |= {"wait": "fleet", "timeout": self.timeout}
        headers = {} if if_match is None else {"if-match": if_match}
        answer = self.client.document(method, path, body=body, params=params, headers=headers)
        if answer.get("fleet"):
            summary = f"revision {answer['revision']}: {answer['fleet']['summary']}"
            messages.print(summary, markup=False)
        return cast("dict[str, Any]", answer)

    def confirm(self, question: str) -> None:
        """Ask before something severe, unless --yes or --dry-run is given.

        Raises:
            Failure: the answer is no, or nobody can be asked.
        """
        if self.yes or self.dry_run:
            return
        if self.no_input:
            raise Failure(f"{question} needs --yes", Exit.USAGE)
        if not typer.confirm(question, err=True):
            raise Failure("nothing was changed", Exit.REFUSED)

    def confirm_by_name(self, what: str, name: str, typed: str | None) -> None:
        """Have the name typed of what a guard protects, unless --dry-run is given.

        --yes is no answer to this question: a script that always gives it would answer a question
        that it does not know. Where nobody can be asked, --confirm has to have the name.

        Args:
            what: what is about to happen.
            name: what has to be typed.
            typed: the value of --confirm; None: it was not given.

        Raises:
            Failure: it is another name, or nobody can be asked.
        """
        if self.dry_run:
            return
        if typed is None and self.no_input:
            raise Failure(f"{what} needs --confirm {name} (--yes is not enough)", Exit.USAGE)
        if typed is None:
            typed = typer.prompt(f"{what}: type {name} to confirm", err=True)
        if typed != name:
            raise Failure(f"{typed!r} is not {name!r}: nothing was changed", Exit.REFUSED)

    def show(self, data: Any, table: Table | None = None) -> None:
        """Print data as --output says: as the table if there is one, else as YAML."""
        show(data, self.output, table)

    def show_data(self, data: Any) -> None:
        """Print data that a message has told people already: only with -o json or -o yaml."""
        if self.output is not Format.TABLE:
            show(data, self.output)


def of(ctx: typer.Context) -> Context:
    """Return the context of a command."""
    return cast("Context", ctx.obj)
