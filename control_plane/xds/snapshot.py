"""All resources of one revision, immutable, and what changed from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from weakref import WeakKeyDictionary

from control_plane.xds.resource import Resource
from control_plane.xds.server.delta_request import entry

Changes = Mapping[str, frozenset[str]]
"""Names by type."""


class OfType:
    """The resources of one type, with what all sessions ask of them made once."""

    def __init__(self, resources: Mapping[str, Resource], size: int | None = None) -> None:
        self.resources: Mapping[str, Resource] = MappingProxyType(resources)
        self.bytes = sum(one.delta_size for one in resources.values()) if size is None else size
        """How large a response with all of them is, nearly: names and bodies."""

    def altered(self, put: Mapping[str, Resource], dropped: frozenset[str]) -> OfType:
        """These resources instead, without those; both are names that do change."""
        resources = {**self.resources, **put}
        size = self.bytes + sum(one.delta_size for one in put.values())
        for name in put.keys() | dropped:
            if (before := self.resources.get(name)) is not None:
                size -= before.delta_size
        for name in dropped:
            del resources[name]
        return OfType(resources, size)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names."""
        return frozenset(self.resources)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The versions, by name."""
        return {name: one.version for name, one in self.resources.items()}

    @cached_property
    def ordered(self) -> tuple[Resource, ...]:
        """The resources, by name."""
        return tuple(self.resources[name] for name in sorted(self.resources))

    @cached_property
    def entries(self) -> frozenset[bytes]:
        """The versions as a client that has them all names them on the wire."""
        return frozenset(entry(name, version) for name, version in self.versions.items())


_NO_TYPE = OfType({})


class Snapshot:
    """Resources by type and name, at a revision. Compare with `changed`."""

    def __init__(self, revision: int, resources: Iterable[Resource]) -> None:
        by_type: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            names = by_type.setdefault(resource.type_url, {})
            if resource.name in names:
                raise ValueError(f"{resource.type_url} {resource.name!r} stands twice")
            names[resource.name] = resource
        self.revision = revision
        self._by_type = {type_url: OfType(names) for type_url, names in by_type.items()}
        self._changes: WeakKeyDictionary[Snapshot, Changes] = WeakKeyDictionary()

    def at(self, revision: int) -> Snapshot:
        """The same resources at a newer revision."""
        return self.altered(revision, (), ())

    def altered(
        self, revision: int, put: Iterable[Resource], dropped: Iterable[tuple[str, str]]
    ) -> Snapshot:
        """A newer snapshot with these resources instead, and without those (type, name).

        Types that none of them touches are shared with this snapshot.
        """
        new: dict[str, dict[str, Resource]] = {}
        gone: dict[str, set[str]] = {}
        for resource in put:
            known = self.of_type(resource.type_url).get(resource.name)
            if known is None or known.version != resource.version:
                new.setdefault(resource.type_url, {})[resource.name] = resource
        for type_url, name in dropped:
            if name in self.of_type(type_url):
                gone.setdefault(type_url, set()).add(name)
        later = Snapshot(revision, ())
        later._by_type = dict(self._by_type)
        changes: dict[str, frozenset[str]] = {}
        for type_url in new.keys() | gone.keys():
            lost = frozenset(gone.get(type_url, ())) - new.get(type_url, {}).keys()
            made = self.whole(type_url).altered(new.get(type_url, {}), lost)
            changes[type_url] = lost | new.get(type_url, {}).keys()
            if made.resources:
                later._by_type[type_url] = made
            else:
                del later._by_type[type_url]
        later._changes[self] = MappingProxyType(changes)
        return later

    def whole(self, type_url: str) -> OfType:
        """All about a type."""
        return self._by_type.get(type_url, _NO_TYPE)

    def of_type(self, type_url: str) -> Mapping[str, Resource]:
        """Resources of a type, by name."""
        return self.whole(type_url).resources

    @cached_property
    def types(self) -> frozenset[str]:
        """The types that have resources."""
        return frozenset(self._by_type)

    @property
    def bytes_by_type(self) -> Mapping[str, int]:
        """How large a response with every resource of a type is, nearly."""
        return {type_url: made.bytes for type_url, made in self._by_type.items()}

    def same_content(self, other: Snapshot) -> bool:
        """Whether both hold the same resources in the same versions."""
        return not any(self.changed(other).values())

    def changed(self, older: Snapshot) -> Changes:
        """Names that were added, altered or removed since ``older``, by type.

        Remembered as long as there is an ``older``: a thousand streams share one comparison.
        """
        known = self._changes.get(older)
        if known is None:
            known = MappingProxyType(
                {
                    type_url: _different(self.whole(type_url), older.whole(type_url))
                    for type_url in self.types | older.types
                    if self.whole(type_url) is not older.whole(type_url)
                }
            )
            self._changes[older] = known
        return known


def _different(new: OfType, old: OfType) -> frozenset[str]:
    return frozenset(name for name, _ in new.versions.items() ^ old.versions.items())


EMPTY = Snapshot(0, ())
