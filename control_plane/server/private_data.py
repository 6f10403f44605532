"""The files of a control plane that others must not read, as an earlier run may have left them.

The database holds every claim, and digests of tokens; the archive holds the audit. What is made
anew is private by the umask of our commands (`process.private_files.only_private_files`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from control_plane.process.private_files import tighten
from control_plane.settings import Settings

_BESIDE_SQLITE = ("", "-wal", "-shm", "-journal")


def tighten_files(settings: Settings) -> None:
    """Take the rights of others off the files that exist already; each is logged."""
    for path in _files(settings):
        # A directory there is a slip, which is told later: it may be everybody's, as /tmp is.
        if not path.is_dir():
            tighten(path)


def _files(settings: Settings) -> Iterator[Path]:
    yield settings.mark_file
    if settings.changes_archive is not None:
        yield settings.changes_archive
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
        yield from (Path(f"{url.database}{end}") for end in _BESIDE_SQLITE)
