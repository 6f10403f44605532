"""From the variant for Envoys that have the module back to the plain configuration."""

from __future__ import annotations

from control_plane.compiler.edge_map.listener import without_module_filters
from control_plane.compiler.edge_map.routes import without_map
from control_plane.compiler.model import EnvoyResource
from control_plane.names import ECDS, LDS, MAP_EPOCHS_FILTER, RDS

_UNDO = {LDS: without_module_filters, RDS: without_map}


def plain_of(resource: EnvoyResource) -> EnvoyResource | None:
    """Return the plain resource that a resource of the variant was made of.

    Returns:
        The same resource if it is plain already; None if the plain configuration has none.
    """
    if (resource.type_url, resource.name) == (ECDS, MAP_EPOCHS_FILTER):
        return None
    undo = _UNDO.get(resource.type_url)
    return resource if undo is None else undo(resource)
