"""Every command of ``cellway``, read from its tree, with arguments with which it would run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from control_plane.cli.main import app
from tests.support.system import RULESETS

RULES = str(RULESETS / "gitlab.json")
CASES = str(RULESETS / "gitlab.tests.yaml")
TAKEN = "{taken}"
"""Stands for a port that another program has, with which what would run for ever ends at once."""
NEW = "{new}"
"""Stands for a path where nothing is yet."""
RUNS_FOR_EVER = {
    "up": ["--edge-port", "0", "--classifier-port", TAKEN],
    "serve": ["--classifier-port", TAKEN],
    "envoy agent": ["--snapshot-dir", NEW, "--listen", "127.0.0.1:" + TAKEN],
}
ARGUMENTS: dict[str, list[str]] = RUNS_FOR_EVER | {
    "explain": ["/acme"],
    "simulate": ["{log}", "--rules", RULES],
    "apply": ["-f", "{topology}", "--yes"],
    "diff": ["-f", "{topology}"],
    "export": [NEW],
    "cells get": ["c1"],
    "cells add": ["c9", "--address", "c9.example", "--endpoint", "10.0.0.9:1", "--dry-run"],
    "cells set": ["c1", "--weight", "7"],
    "cells remove": ["c1", "--yes"],
    "cells sequences show": ["c1"],
    "cells sequences allot": ["c1", "--dry-run"],
    "cells sequences report": ["c1", "1"],
    "cells sequences confirm": ["--yes"],
    "claims settle": ["rollback", "--lease", "none", "--reason", "r", "--yes"],
    "claims import": ["{claims}"],
    "claims get": ["route:acme"],
    "claims claim": ["c1", "route:acme"],
    "claims release": ["route:acme", "--yes", "--dry-run"],
    "claims transfer": ["project:1", "--from", "c1", "--to", "c2", "--reason", "r", "--yes"],
    "claims release-all": ["c1", "--reason", "r", "--yes", "--dry-run"],
    "rules lint": [RULES],
    "rules tiers": [RULES],
    "rules test": [CASES],
    "rules reserve": [RULES, "--routes", str(RULESETS / "gitlab_routes.tsv"), "--dry-run"],
    "rules diff": [RULES],
    "rules apply": [RULES, "--dry-run"],
    "rules rollback": ["r", "--version", "1", "--yes"],
    "edge-secret rotate": ["--yes", "--dry-run"],
    "envoy bootstrap": ["--node-id", "e1", "--xds", "127.0.0.1:18000"],
    "envoy secrets": [
        *(NEW, "--tls-certificate", "/c.pem", "--tls-key", "/k.pem", "--tls-ca", "/ca.pem")
    ],
    "db backup": [NEW],
    "db restore": ["{corrupt}", "--yes"],
    "db advance": ["1", "--yes"],
    "db prune": ["--yes"],
    "operations get": ["none"],
    "token create": ["ci", "--dry-run"],
    "token revoke": ["none", "--yes"],
}
"""What a command is given beside its name."""
OF_DATABASE = frozenset({"up", "serve"})
WITHOUT_SERVER = frozenset({"up", "serve", "envoy agent", "envoy bootstrap", "envoy secrets"}) | {
    *("rules lint", "rules tiers", "rules test", "rules reserve", "addon-path")
}
"""Commands that call no API, beside those of ``db``."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command, for example ``claims list``."""

    name: str

    @property
    def arguments(self) -> list[str]:
        return [*self.name.split(), *ARGUMENTS.get(self.name, [])]

    @property
    def calls_api(self) -> bool:
        return not self.name.startswith("db ") and self.name not in WITHOUT_SERVER

    @property
    def opens_database(self) -> bool:
        return self.name.startswith("db ") or self.name in OF_DATABASE

    @property
    def runs_for_ever(self) -> bool:
        return self.name in RUNS_FOR_EVER


def every_command() -> list[Command]:
    """Return all commands, as the tree of the program has them."""
    return [Command(" ".join(path)) for path in _leaves(typer.main.get_command(app), ())]


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))
