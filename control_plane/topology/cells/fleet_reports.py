"""What the Envoys of all control planes run, for those who wait for the whole fleet.

Each Envoy is connected to one control plane, and only that one hears what it runs. So each control
plane that serves Envoys writes a report into the database, and whoever waits for a revision reads
the reports of all. For example, this one has two Envoys that run revision 41, and one that does
not::

    {"name": "cp-1:18000", "published": 41, "acked": 40, "nodes": 3, "lagging": ["edge-3"],
     "running": 2, "refused": {"edge-3": "cell:a: no such file"}, "unpublished": null}

A report counts while it is fresh. One that is no longer fresh is of a control plane that has died,
and its Envoys are with others by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from sqlalchemy import delete, insert, select, update

from control_plane.topology.storage import Store, Transaction, clock, moment, schema

FRESH = timedelta(seconds=6)
"""How long a report counts after it was last written."""
FORGOTTEN = timedelta(hours=1)
"""How long a report lies there after it was last written."""
MAX_NAMED = 20
"""How many Envoys a report names that are behind, and how many that refuse."""
MAX_WORDS = 500
"""How many characters of an Envoy's words a report repeats."""
_T = schema.fleet_reports


@dataclass(frozen=True, slots=True)
class FleetReport:
    """What the Envoys of one control plane run."""

    name: str
    """The control plane, for people: its host and gRPC port."""
    published: int
    """The newest revision that it has published to its Envoys."""
    acked: int
    """The newest revision that all of its Envoys run; ``published`` if it has none."""
    nodes: int
    """How many Envoys are connected to it."""
    running: int = 0
    """How many of them run ``published``."""
    lagging: tuple[str, ...] = ()
    """Some of those that don't run ``published``."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """The words of some of those that refuse it, by node id."""
    unpublished: tuple[int, str] | None = None
    """A revision that it keeps from its Envoys, and why."""
    missing: tuple[str, ...] = ()
    """Envoys that have left it and that nobody is known to have."""
    found: tuple[str, ...] = ()
    """Those of its Envoys that others miss."""
    age_s: float = 0.0
    """How long ago it was written; this is not stored."""

    def document(self) -> str:
        """Return it as it is stored, bounded."""
        stored = asdict(self)
        del stored["age_s"]
        stored["lagging"] = self.lagging[:MAX_NAMED]
        words = list(self.refused.items())[:MAX_NAMED]
        stored["refused"] = {node: text[:MAX_WORDS] for node, text in words}
        if self.unpublished is not None:
            stored["unpublished"] = (self.unpublished[0], self.unpublished[1][:MAX_WORDS])
        return json.dumps(stored)

    @classmethod
    def read(cls, document: str, age_s: float) -> FleetReport:
        """Return a report that was stored."""
        said = json.loads(document)
        for names in ("lagging", "missing", "found"):
            said[names] = tuple(said[names])
        said["unpublished"] = tuple(said["unpublished"]) if said["unpublished"] else None
        return cls(**said, age_s=age_s)


def behind(tx: Transaction, revision: int) -> list[str]:
    """Return who may not run a revision yet, for people: Envoys or whole control planes."""
    late: list[str] = []
    for row in tx.connection.execute(select(_T).where(_T.c.at > tx.at - FRESH)):
        report = FleetReport.read(row.said, 0.0)
        if report.nodes and min(report.acked, report.published) < revision:
            late += report.lagging or (f"Envoys of {report.name}",)
    return late


class FleetReports:
    """The reports of all control planes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, server: str, report: FleetReport) -> None:
        """Write the report of a control plane, and delete those that are long out of date."""
        document = report.document()

        def work(tx: Transaction) -> None:
            row = {"said": document, "at": tx.at}
            own = update(_T).where(_T.c.server == server).values(**row)
            if tx.connection.execute(own).rowcount == 0:
                tx.connection.execute(insert(_T).values(server=server, **row))
                tx.connection.execute(delete(_T).where(_T.c.at < tx.at - FORGOTTEN))

        self._store.write("fleet", work)

    def withdraw(self, server: str) -> None:
        """Delete the report of a control plane that stops."""

        def work(tx: Transaction) -> None:
            tx.connection.execute(delete(_T).where(_T.c.server == server))

        self._store.write("fleet", work)

    def fresh(self) -> dict[str, FleetReport]:
        """Return the reports that count, by control plane."""
        with self._store.read() as connection:
            rows = connection.execute(select(_T)).all()
            now = clock(connection) if rows else None
        if now is None:
            return {}
        reports = {
            row.server: FleetReport.read(row.said, max(0.0, (now - moment(row.at)).total_seconds()))
            for row in rows
        }
        within = FRESH.total_seconds()
        return {server: one for server, one in reports.items() if one.age_s < within}
