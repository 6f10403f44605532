"""Snapshots on disk: checked when read, replaced atomically, newer never lost to older."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from control_plane.xds.protobuf_wire import length_delimited
from control_plane.xds.resource import Resource
from control_plane.xds.resource_types import PUSH_ORDER
from control_plane.xds.snapshot import Snapshot

log = logging.getLogger(__name__)
SCHEMA = 1
KEPT = 3
"""Good snapshots that stay on disk."""
MAX_BYTES = 256 << 20
MAX_HEADER_BYTES = 64 << 10
_NAME = re.compile(r"([0-9]{20})-([0-9]{6,})\.snapshot\Z")
_UNFINISHED = ".new"


class OlderRevision(Exception):
    """What was to be kept is older than what is kept."""


class DirectoryTaken(OSError):
    """Another agent keeps its snapshots in this directory."""


class BadSnapshot(Exception):
    """A file that is no whole snapshot of a schema known here; says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot as one group of nodes was given it."""

    snapshot: Snapshot
    group: str

    @property
    def revision(self) -> int:
        """The newest revision that is in it."""
        return self.snapshot.revision


def encode(kept: Kept) -> bytes:
    """A file's content: a line of JSON, then a serialised ``DeltaDiscoveryResponse``.

    The checksum is that of the response, in which the revision stands once more.
    """
    snapshot = kept.snapshot
    fields = [length_delimited(1, str(snapshot.revision).encode())]
    for type_url in PUSH_ORDER:
        fields += [one.delta_field for _, one in sorted(snapshot.of_type(type_url).items())]
    payload = b"".join(fields)
    header = {
        "schema": SCHEMA,
        "revision": snapshot.revision,
        "group": kept.group,
        "bytes": len(payload),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(header).encode() + b"\n" + payload


def decode(content: bytes) -> Kept:
    """The opposite of `encode`; keys of the header that are not known here mean nothing.

    Raises:
        BadSnapshot: truncated, altered, or of another schema.
    """
    line, newline, payload = content.partition(b"\n")
    if not newline or len(line) > MAX_HEADER_BYTES:
        raise BadSnapshot("it has no header")
    header = _header(line)
    if header.get("schema") != SCHEMA:
        raise BadSnapshot(f"its schema is {header.get('schema')!r}; this agent reads {SCHEMA}")
    if header.get("bytes") != len(payload):
        raise BadSnapshot(f"it has {len(payload)} bytes of {header.get('bytes')!r}")
    found = hashlib.sha256(payload).hexdigest()
    if header.get("sha256") != found:
        raise BadSnapshot(f"its checksum is {found}, not {header.get('sha256')!r}")
    try:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(payload)
        snapshot = Snapshot(
            int(message.system_version_info),
            (Resource(r.resource.type_url, r.name, r.version, r.resource.value)
             for r in message.resources),
        )  # fmt: skip
    except (DecodeError, ValueError) as error:
        raise BadSnapshot(f"its content is malformed: {error}") from error
    group = header.get("group")
    if header.get("revision") != snapshot.revision or not isinstance(group, str):
        raise BadSnapshot("its header belongs to another snapshot")
    return Kept(snapshot, group)


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError as error:
        raise BadSnapshot(f"its header is malformed: {error}") from error
    if not isinstance(header, dict):
        raise BadSnapshot("its header is no JSON object")
    return header


class SnapshotStore:
    """The snapshots of one Envoy in a directory of their own. Not for several threads at once.

    Raises:
        DirectoryTaken: another agent runs on it.
        OSError: it can't be made or locked.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise DirectoryTaken(error.errno, f"another agent uses {directory}") from error
        self.newest: Kept | None = None
        """The newest good one, once `load` or `save` has found or made it."""
        self.bad: dict[Path, str] = {}
        """Files that `load` passed over, and why."""

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._lock)

    def load(self) -> Kept | None:
        """The newest good snapshot; what is bad is logged, noted in `bad` and passed over."""
        self.newest = None
        self.bad.clear()
        for path in self._paths():
            try:
                self.newest = decode(_read(path))
            except (BadSnapshot, OSError) as error:
                self.bad[path] = str(error)
                log.error("%s can't be used: %s; going back to the one before", path, error)  # noqa: TRY400
                continue
            break
        return self.newest

    def save(self, kept: Kept) -> Path:
        """Have it on disk before this returns; then forget all but the newest `KEPT`.

        Raises:
            OlderRevision: a newer one is kept.
            OSError: it can't be written; what was kept still is.
        """
        if self.newest is not None and kept.revision < self.newest.revision:
            raise OlderRevision(
                f"revision {kept.revision} is older than {self.newest.revision}, which is kept"
            )
        paths = self._paths()
        serial = 1 + max((int(_numbers(path)[1]) for path in paths), default=0)
        path = self._directory / f"{kept.revision:020}-{serial:06}.snapshot"
        self._write(path, encode(kept))
        self.newest = kept
        self._forget([path, *paths])
        return path

    def _write(self, path: Path, content: bytes) -> None:
        if len(content) > MAX_BYTES:
            raise OSError(f"the snapshot has {len(content)} bytes; at most {MAX_BYTES} are kept")
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            descriptor = os.open(
                unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync_directory(self._directory)

    def _forget(self, paths: list[Path]) -> None:
        good = [path for path in paths if path not in self.bad]
        gone = [*good[KEPT:], *self.bad, *self._directory.glob(f"*{_UNFINISHED}")]
        for path in gone:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.error("an old snapshot can't be removed: %s", error)  # noqa: TRY400
        self.bad.clear()

    def _paths(self) -> list[Path]:
        """Finished files, the newest first."""
        found = [path for path in self._directory.iterdir() if _NAME.match(path.name)]
        return sorted(found, key=_numbers, reverse=True)


def _numbers(path: Path) -> tuple[int, int]:
    match = _NAME.match(path.name)
    assert match is not None
    return int(match[1]), int(match[2])


def _read(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES + MAX_HEADER_BYTES:
        raise BadSnapshot(f"it has {size} bytes")
    return path.read_bytes()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
