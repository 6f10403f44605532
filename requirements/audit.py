"""Compares the pinned packages with known vulnerabilities: ``make audit``.

The advisories come from OSV by pip-audit. Where no network is, they come from ``advisories.json``,
a dated extract of the PyPA Advisory Database (CC BY 4.0) for the packages that we pin. An extract
says nothing about what was found after its date, so the report names the date.

``audit.py --refresh CLONE`` makes the extract anew from a clone of that database. One record of it:

    {"id": "PYSEC-2023-45", "aliases": ["CVE-2023-28858"], "package": "redis",
     "summary": "redis-py before 4.5.3 …", "versions": ["4.2.0"],
     "ranges": [[{"introduced": "4.2.0"}, {"fixed": "4.3.6"}]]}
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).parent
EXTRACT = HERE / "advisories.json"
PINS = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
LISTS = ("base.txt", "dev.txt", "audit.txt")
ONLINE_TIMEOUT_S = 300
SUMMARY_CHARACTERS = 200
DATABASE = "PyPA Advisory Database"


@dataclass(frozen=True, slots=True)
class Advisory:
    """One known vulnerability of one package, as OSV's format tells it."""

    id: str
    aliases: tuple[str, ...]
    package: str
    """Its canonical name (PEP 503)."""
    summary: str
    versions: tuple[str, ...]
    """The versions that are affected, beside those of the ranges."""
    ranges: tuple[tuple[Mapping[str, str], ...], ...]
    """Events in their order: ``introduced``, ``fixed`` or ``last_affected``, with its version."""

    def affects(self, version: str) -> bool:
        """Return whether ``version`` of the package has this vulnerability.

        Raises:
            packaging.version.InvalidVersion: a version is not one of PEP 440.
        """
        return version in self.versions or any(
            _within(events, Version(version)) for events in self.ranges
        )


def _within(events: Iterable[Mapping[str, str]], version: Version) -> bool:
    """Return whether the last event up to ``version`` leaves it affected (OSV, "Evaluation")."""
    affected = False
    for event in sorted(events, key=lambda one: Version(*one.values())):
        ((kind, text),) = event.items()
        boundary = Version(text)
        if kind == "introduced" and version >= boundary:
            affected = True
        elif (kind == "fixed" and version >= boundary) or (
            kind == "last_affected" and version > boundary
        ):
            affected = False
    return affected


def pins(*lists: Path) -> dict[str, str]:
    """Return the pinned version of each package by its canonical name."""
    return {
        canonicalize_name(name): version
        for path in lists
        for name, version in PINS.findall(path.read_text())
    }


def found(advisories: Iterable[Advisory], pinned: Mapping[str, str]) -> list[Advisory]:
    """Return the advisories that affect a pinned version."""
    return [
        advisory
        for advisory in advisories
        if advisory.package in pinned and advisory.affects(pinned[advisory.package])
    ]


def read_extract(path: Path = EXTRACT) -> tuple[str, list[Advisory]]:
    """Return the date of the extract (ISO 8601) and its advisories."""
    extract = json.loads(path.read_text())
    return extract["date"], [
        Advisory(
            record["id"],
            tuple(record["aliases"]),
            record["package"],
            record["summary"],
            tuple(record["versions"]),
            tuple(tuple(events) for events in record["ranges"]),
        )
        for record in extract["advisories"]
    ]


def extract(clone: Path, packages: Iterable[str]) -> dict[str, Any]:
    """Return the extract of a clone of the database for ``packages``.

    Raises:
        subprocess.CalledProcessError: ``clone`` is no git repository.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(clone), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    folders = {canonicalize_name(name) for name in packages}
    files = [
        path
        for path in git("ls-tree", "-r", "--name-only", "HEAD", "vulns").splitlines()
        if canonicalize_name(path.split("/")[1]) in folders
    ]
    records = [asdict(one) for path in files for one in _advisories(git("show", f"HEAD:{path}"))]
    return {
        "source": DATABASE,
        "licence": "CC BY 4.0",
        "commit": git("log", "-1", "--format=%H").strip(),
        "date": git("log", "-1", "--format=%cs").strip(),
        "advisories": records,
    }


def _advisories(text: str) -> Iterable[Advisory]:
    record = yaml.safe_load(text)
    if record.get("withdrawn"):
        return
    summary = " ".join((record.get("summary") or record.get("details") or "").split())
    for affected in record["affected"]:
        ranges = [one["events"] for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM"]
        yield Advisory(
            record["id"],
            tuple(record.get("aliases", ())),
            canonicalize_name(affected["package"]["name"]),
            summary[:SUMMARY_CHARACTERS],
            () if ranges else tuple(affected.get("versions", ())),
            tuple(tuple({k: str(v) for k, v in event.items()} for event in r) for r in ranges),
        )


def _online(requirements: Path) -> list[str] | None:
    """Return the faults that OSV knows, one a line; None where OSV can't be asked."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv"),
                *("--disable-pip", "--require-hashes", "-r", str(requirements)),
                *("--format", "json", "--output", str(report)),
            ],
            timeout=ONLINE_TIMEOUT_S,
            capture_output=True,
            check=False,  # It ends with 1 for a finding as well as for a service out of reach.
        )
        if not report.exists():
            return None
        dependencies = json.loads(report.read_text())["dependencies"]
    lines = []
    for package in dependencies:
        if "skip_reason" in package:
            lines.append(f"{package['name']}: not audited: {package['skip_reason']}")
        for fault in package.get("vulns", ()):
            mend = ", ".join(fault["fix_versions"]) or "none yet"
            lines.append(f"{package['name']} {package['version']}: {fault['id']}; fixed in: {mend}")
    return lines


def _offline(pinned: Mapping[str, str]) -> list[str]:
    date, advisories = read_extract()
    print(f"OSV can't be reached: using the extract of the {DATABASE} of {date}.")
    print("It knows nothing newer. Run `make audit` again where a network is.")
    return [
        f"{one.package} {pinned[one.package]}: {one.id} {' '.join(one.aliases)}: {one.summary}"
        for one in found(advisories, pinned)
    ]


def main() -> None:
    """Print what is known of the pinned packages; the exit status is 1 if one is vulnerable."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--refresh", metavar="CLONE", type=Path, help="make the extract anew")
    arguments = parser.parse_args()
    lists = [HERE / name for name in LISTS]
    pinned = pins(*lists)
    if arguments.refresh:
        text = json.dumps(extract(arguments.refresh, pinned), indent=1, ensure_ascii=False)
        EXTRACT.write_text(text + "\n")
        return
    faults: list[str] = []
    for path in lists:
        answer = _online(path)
        if answer is None:
            faults = _offline(pinned)
            break
        faults += answer
    for fault in sorted(set(faults)):
        print(fault)
    print(f"{len(pinned)} pinned packages, {len(set(faults))} faults")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
