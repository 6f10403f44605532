"""Reads all claims of a database and writes the file of their base; a process of its own.

Ten million claims are half a minute of work. In the control plane's process, that would hold the
interpreter's lock against everything else there. So `builder` starts this program for large tables:

    python -m control_plane.owners.source.build < {"url": "sqlite:///FILE"} > FILE

The URL, which may hold a password, comes on standard input, where no other user sees it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing

from control_plane.owners.sorted_base import BaseSorter
from control_plane.topology.lookup.all_owners import AllOwners
from control_plane.topology.storage import Store
from control_plane.topology.values import TopologyError

MODULE = "control_plane.owners.source.build"
_NICE = 5
"""By how much it gives way to what routes requests."""


class TooManyNames(Exception):
    """There are more claims than the caller wanted to read."""


def base_file(owners: AllOwners, most: int | None = None) -> Iterator[bytes]:
    """Yield the frames of the base of a database's claims, from the newest revision.

    Args:
        owners: The database.
        most: How many claims to read at most; None for any number.

    Raises:
        TooManyNames: There are more.
        TopologyError: The database can't be read.
    """
    with owners.read() as read:
        sorter = BaseSorter(read.table.key)
        for rows in read.rows:
            sorter.add(rows)
            if most is not None and sorter.names > most:
                raise TooManyNames
    yield from sorter.file(read.table.table, read.revision)


def main() -> int:
    """Write the base to standard output; return the exit status."""
    os.nice(_NICE)
    url: str = json.load(sys.stdin)["url"]
    try:
        with closing(Store(url)) as store:
            for frame in base_file(AllOwners(store)):
                sys.stdout.buffer.write(frame)
        sys.stdout.buffer.flush()
    except (TopologyError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
