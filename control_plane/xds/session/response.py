"""A response before it is serialised."""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Resources


@dataclass(frozen=True, slots=True)
class Response:
    """A response of either protocol. Only delta uses ``removed``."""

    type_url: str
    nonce: str
    version: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()
    subjects: frozenset[str] | None = None
    """The names that this response tells something new about, if it repeats others as well."""
    everything: Resources | None = None
    """The resources that it was made of, if it holds all of its type."""

    def names(self) -> frozenset[str]:
        """Return the names that the response tells something new about."""
        if self.subjects is not None:
            return self.subjects
        return frozenset((*(one.name for one in self.resources), *self.removed))

    def versions(self) -> dict[str, str]:
        """Return the versions of its resources, by name."""
        return {one.name: one.version for one in self.resources}
