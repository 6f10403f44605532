"""All resources of one revision, immutable, and what changed from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from weakref import WeakKeyDictionary

from control_plane.xds.protobuf_wire import string_map_entry
from control_plane.xds.resource import Resource

Changes = Mapping[str, frozenset[str]]
"""Names of resources by type."""


class Resources:
    """The resources of one type. What every session asks of them is worked out once."""

    def __init__(self, by_name: Mapping[str, Resource], size: int | None = None) -> None:
        """Hold resources.

        Args:
            by_name: The resources; not to be changed from here on.
            size: The sum of their `delta_size`, if the caller knows it.
        """
        self.by_name: Mapping[str, Resource] = MappingProxyType(by_name)
        self.size = sum(one.delta_size for one in by_name.values()) if size is None else size
        """The approximate length in bytes of a response with all of them."""

    def altered(self, put: Mapping[str, Resource], removed: frozenset[str]) -> Resources:
        """Return these resources with some put in or replaced, and some removed.

        Args:
            put: Resources by name, none of which is here in the same version.
            removed: Names, all of which are here.
        """
        by_name = {**self.by_name, **put}
        size = self.size + sum(one.delta_size for one in put.values())
        for name in put.keys() | removed:
            if (replaced := self.by_name.get(name)) is not None:
                size -= replaced.delta_size
        for name in removed:
            del by_name[name]
        return Resources(by_name, size)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the resources."""
        return frozenset(self.by_name)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The versions of the resources, by name."""
        return {name: one.version for name, one in self.by_name.items()}

    @cached_property
    def ordered(self) -> tuple[Resource, ...]:
        """The resources in the order of their names."""
        return tuple(self.by_name[name] for name in sorted(self.by_name))

    @cached_property
    def version_entries(self) -> frozenset[bytes]:
        """`versions` as the map entries that a client sends which has exactly these resources."""
        return frozenset(string_map_entry(name, one) for name, one in self.versions.items())


_NO_RESOURCES = Resources({})


class Snapshot:
    """Resources by type and name, at a revision.

    Raises:
        ValueError: Two resources have the same type and name.
    """

    def __init__(self, revision: int, resources: Iterable[Resource]) -> None:
        by_type: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            names = by_type.setdefault(resource.type_url, {})
            if resource.name in names:
                raise ValueError(f"{resource.type_url} {resource.name!r} stands twice")
            names[resource.name] = resource
        self.revision = revision
        self._by_type = {type_url: Resources(names) for type_url, names in by_type.items()}
        self._changes: WeakKeyDictionary[Snapshot, Changes] = WeakKeyDictionary()

    def at(self, revision: int) -> Snapshot:
        """Return the same resources at a newer revision."""
        return self.altered(revision, (), ())

    def altered(
        self, revision: int, put: Iterable[Resource], removed: Iterable[tuple[str, str]]
    ) -> Snapshot:
        """Return a newer snapshot, which shares with this one the types that do not change.

        Args:
            revision: Of the newer snapshot.
            put: Resources to put in or to replace; those that are here already change nothing.
            removed: Type and name of resources to remove; those that are not here change nothing.
        """
        new: dict[str, dict[str, Resource]] = {}
        lost: dict[str, set[str]] = {}
        for resource in put:
            current = self.of_type(resource.type_url).get(resource.name)
            if current is None or current.version != resource.version:
                new.setdefault(resource.type_url, {})[resource.name] = resource
        for type_url, name in removed:
            if name in self.of_type(type_url):
                lost.setdefault(type_url, set()).add(name)
        later = Snapshot(revision, ())
        later._by_type = dict(self._by_type)
        changes: dict[str, frozenset[str]] = {}
        for type_url in new.keys() | lost.keys():
            added = new.get(type_url, {})
            dropped = frozenset(lost.get(type_url, ())) - added.keys()
            resources = self.resources(type_url).altered(added, dropped)
            changes[type_url] = dropped | added.keys()
            if resources.by_name:
                later._by_type[type_url] = resources
            else:
                del later._by_type[type_url]
        later._changes[self] = MappingProxyType(changes)
        return later

    def resources(self, type_url: str) -> Resources:
        """Return the resources of a type; none if the type has none."""
        return self._by_type.get(type_url, _NO_RESOURCES)

    def of_type(self, type_url: str) -> Mapping[str, Resource]:
        """Return the resources of a type by name."""
        return self.resources(type_url).by_name

    @cached_property
    def types(self) -> frozenset[str]:
        """The types that have resources."""
        return frozenset(self._by_type)

    @property
    def bytes_by_type(self) -> Mapping[str, int]:
        """The approximate length in bytes of a response with every resource of a type."""
        return {type_url: resources.size for type_url, resources in self._by_type.items()}

    def same_content(self, other: Snapshot) -> bool:
        """Return whether both hold the same resources in the same versions."""
        return not any(self.changed(other).values())

    def changed(self, older: Snapshot) -> Changes:
        """Return the names that were added, altered or removed since ``older``, by type.

        The answer is remembered for as long as ``older`` lives, so that a thousand streams that go
        from one snapshot to the next share one comparison.
        """
        changes = self._changes.get(older)
        if changes is None:
            changes = MappingProxyType(
                {
                    type_url: _different(self.resources(type_url), older.resources(type_url))
                    for type_url in self.types | older.types
                    if self.resources(type_url) is not older.resources(type_url)
                }
            )
            self._changes[older] = changes
        return changes


def _different(new: Resources, old: Resources) -> frozenset[str]:
    return frozenset(name for name, _ in new.versions.items() ^ old.versions.items())


EMPTY = Snapshot(0, ())
