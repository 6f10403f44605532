"""What ``simulate`` decides by: cells, ruleset and owners, of a server or from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.cli import topology_files
from control_plane.cli.client import Client, Exit, Failure
from control_plane.routing.model import Cells, ClaimKey
from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.problems import RulesetError
from control_plane.routing.rules.ruleset import Classify, ClassifyType, Ruleset
from control_plane.simulation.offline import BadTopology, ClaimsOfFile, cells_of
from control_plane.simulation.worlds import Lookup, World


class ServersOwners:
    """Looks owners up at a server, many at once; notes the revisions at which that was done."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.first: int | None = None
        self.last: int | None = None

    def __call__(self, keys: Sequence[ClaimKey]) -> Sequence[int | None]:
        """Return for each claim the id of the cell that owns it, or None."""
        claims = [{"bucket": bucket, "value": value} for bucket, value in keys]
        answer = self._client.document("POST", "/v1/claims/owners", body={"claims": claims})
        owners: list[int | None] = answer["owners"]
        if len(owners) != len(keys):
            raise Failure(f"the server told {len(owners)} owners of {len(keys)} claims")
        self.last = int(answer["revision"])
        self.first = self.last if self.first is None else self.first
        return owners


@dataclass(frozen=True, slots=True)
class Known:
    """The active world, and who tells owners."""

    world: World
    owners: Lookup
    has_claims: bool = True

    def check_claims(self, proposed: World) -> None:
        """Raise `Failure` if a ruleset asks for claims, and there are none to look up."""
        asks = any(_asks_for_claims(world.ruleset) for world in (self.world, proposed))
        if asks and not self.has_claims:
            text = "the rules look claims up: give --claims FILE, as `cellway claims export` writes"
            raise Failure(f"{text} (/dev/null if there are none)", Exit.USAGE)

    def revisions(self) -> dict[str, Any]:
        """Return the revisions between which a server was asked for owners."""
        if not isinstance(self.owners, ServersOwners):
            return {}
        return {"revision": self.owners.first, "last_revision": self.owners.last}


def _asks_for_claims(ruleset: Ruleset) -> bool:
    actions = [rule.action for rule in ruleset.rules]
    return any(isinstance(one, Classify) and one.type is ClassifyType.CLAIM for one in actions)


def of_server(client: Client) -> Known:
    """Return what a server decides by now; raise `Failure` if it has no active ruleset."""
    active = client.get("/v1/rulesets/active")
    if "document" not in active:
        raise Failure("no ruleset is active at the server; apply one", Exit.CONFLICT)
    cells = _cells(client.get("/v1/cells")["items"], "the server's cells")
    ruleset = _parsed(active["document"], f"the active ruleset {active['name']}")
    return Known(World(ruleset, cells), ServersOwners(client))


def of_files(topology: Path, claims: Path | None) -> Known:
    """Return what an export says; raise `Failure` if it can't be read or has no active ruleset."""
    document = topology_files.read(topology)
    name, rulesets = document.get("active"), document.get("rulesets")
    if not isinstance(rulesets, dict) or name not in rulesets:
        text = f"{topology} has no active ruleset: in topology.yaml, write active: NAME"
        raise Failure(text, Exit.USAGE)
    cells = _cells(document.get("cells"), str(topology))
    world = World(_parsed(rulesets[name], f"ruleset {name} of {topology}"), cells)
    try:
        with claims.open("rb") if claims else Path("/dev/null").open("rb") as lines:
            return Known(world, ClaimsOfFile(lines, cells), claims is not None)
    except BadTopology as error:
        raise Failure(f"{claims}: {error}", Exit.USAGE) from error


def proposed(world: World, rules: Path | None, topology: Path | None) -> World:
    """Return the world as it is proposed; what no file proposes stays."""
    ruleset, cells = world.ruleset, world.cells
    if topology is not None:
        cells = _cells(topology_files.read(topology).get("cells"), str(topology))
    if rules is not None:
        try:
            ruleset = _parsed(rules.read_text("utf-8"), str(rules))
        except UnicodeDecodeError as error:
            raise Failure(f"{rules} is not UTF-8: {error}", Exit.USAGE) from error
    return World(ruleset, cells)


def _cells(documents: Any, where: str) -> Cells:
    if not isinstance(documents, list) or not all(isinstance(one, dict) for one in documents):
        raise Failure(f"{where} has no list of cells", Exit.USAGE)
    try:
        return cells_of(documents)
    except BadTopology as error:
        raise Failure(f"{where}: {error}", Exit.USAGE) from error


def _parsed(document: Any, what: str) -> Ruleset:
    try:
        return parse(document)
    except RulesetError as error:
        lines = [f"  {problem}" for problem in error.problems]
        raise Failure("\n".join([f"{what} can't work", *lines])) from error
