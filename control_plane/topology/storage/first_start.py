"""Refuses to make a new database where one has been.

A restore that broke off, a disk that isn't mounted, a misspelt name: the program finds no database,
makes an empty one, and the fleet hears that there are no cells. The mark file (`mark_file`) lies
beside the database and outlives it, so it tells a first start from a lost database.
"""

from __future__ import annotations

from control_plane.topology.storage.engines import schema_revision
from control_plane.topology.storage.store import Store
from control_plane.topology.values.errors import Refused


def refuse_anew(store: Store) -> None:
    """Refuse to go on if a database has been here, and is gone.

    Raises:
        Refused: there is a mark file, and no schema.
        Invalid: the mark file is malformed.
    """
    mark = store.sequence_mark
    # In this order: another process that starts for the first time makes the file last.
    if mark is None or not mark.path.exists() or schema_revision(store.engine) is not None:
        return
    mark.read()
    why = (
        f"there is none, but {mark.path} says that there has been one. Put the database back "
        "(cellway db restore; is its disk mounted?), or start once with --new-database "
        "(CELLWAY_NEW_DATABASE=true) if it is to be empty"
    )
    raise Refused(f"making {store.engine.url.render_as_string()} anew", why)
