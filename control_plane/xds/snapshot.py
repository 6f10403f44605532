"""All resources of one revision, immutable, and what changed from one to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

from control_plane.xds.resource import Resource

_NONE: Mapping[str, Resource] = MappingProxyType({})


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
        self._by_type = by_type
        self._last_diff: tuple[Snapshot, Mapping[str, frozenset[str]]] | None = None

    def at(self, revision: int) -> Snapshot:
        """The same resources at a newer revision."""
        later = Snapshot(revision, ())
        later._by_type = self._by_type
        later.bytes_by_type = self.bytes_by_type
        return later

    def with_resource(self, resource: Resource) -> Snapshot:
        """The same but for one resource, which is added or takes its namesake's place."""
        other = Snapshot(self.revision, ())
        other._by_type = {
            **self._by_type,
            resource.type_url: {**self.of_type(resource.type_url), resource.name: resource},
        }
        return other

    def of_type(self, type_url: str) -> Mapping[str, Resource]:
        """Resources of a type, by name."""
        return self._by_type.get(type_url, _NONE)

    @property
    def types(self) -> frozenset[str]:
        """The types that have resources."""
        return frozenset(self._by_type)

    @cached_property
    def bytes_by_type(self) -> Mapping[str, int]:
        """How large a response with every resource of a type is, nearly: names and bodies."""
        sizes: Counter[str] = Counter()
        for type_url, names in self._by_type.items():
            sizes[type_url] = sum(len(resource.delta_field) for resource in names.values())
        return sizes

    def same_content(self, other: Snapshot) -> bool:
        """Whether both hold the same resources in the same versions."""
        return not any(self.changed(other).values())

    def changed(self, older: Snapshot) -> Mapping[str, frozenset[str]]:
        """Names that were added, altered or removed since ``older``, by type.

        Remembered for the last ``older``, so that a thousand streams share one comparison.
        """
        if self._last_diff is not None and self._last_diff[0] is older:
            return self._last_diff[1]
        diff: dict[str, frozenset[str]] = {}
        if self._by_type is older._by_type:
            return MappingProxyType(diff)
        for type_url in self.types | older.types:
            new, old = self.of_type(type_url), older.of_type(type_url)
            names = {
                name
                for name in new.keys() | old.keys()
                if (a := new.get(name)) is not (b := old.get(name))
                and (a is None or b is None or a.version != b.version)
            }
            diff[type_url] = frozenset(names)
        self._last_diff = (older, MappingProxyType(diff))
        return self._last_diff[1]


EMPTY = Snapshot(0, ())
