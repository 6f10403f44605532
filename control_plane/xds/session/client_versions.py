"""The versions that one client has of one type, stored as differences from a shared mapping.

The problem: a thousand clients run the same thousand resources, and a dict for each of them would
hold a million entries. The idea: all clients share the mapping of the snapshot that most of them
run (the base), and each holds only what differs. Example:

    base          {"a": "1", "b": "1", "c": "1"}     shared by all clients
    own           {"b": "2", "c": None}              this client runs another b, and no c
    as a mapping  {"a": "1", "b": "2"}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

_NO_BASE: Mapping[str, str] = MappingProxyType({})


class ClientVersions(MutableMapping[str, str]):
    """Versions by name. It behaves as a dict; `rebase` changes what is shared, not what it says.

    The base is always that of the session, or there is none yet.
    """

    __slots__ = ("_base", "_own")

    def __init__(self, base: Mapping[str, str] = _NO_BASE) -> None:
        self._base = base
        self._own: dict[str, str | None] = {}
        """What differs from the base; None for a name of the base that this client lacks."""

    @classmethod
    def of(cls, versions: Mapping[str, str], base: Mapping[str, str]) -> ClientVersions:
        """Return the given versions, stored over a base."""
        client = cls(base)
        if versions is not base and versions != base:
            client._own = {name: one for name, one in versions.items() if base.get(name) != one}
            client._own |= dict.fromkeys(base.keys() - versions.keys())
        return client

    def rebase(self, base: Mapping[str, str], changed: Iterable[str]) -> None:
        """Share another base.

        Args:
            base: The new one.
            changed: All names in which it differs from the present base, and perhaps more.
        """
        if self._base is _NO_BASE:
            if self._own == base:
                self._base, self._own = base, {}
            return
        own: dict[str, str | None] = {}
        for name in {*self._own, *changed}:
            version = self.get(name)
            if version != base.get(name):
                own[name] = version
        self._base, self._own = base, own

    def possibly_unlike(
        self, names: AbstractSet[str], current: Mapping[str, str]
    ) -> AbstractSet[str]:
        """Return those of the names whose version may differ from ``current``.

        No name that differs is left out. Names that do not differ may be among them, unless
        ``current`` is the base.
        """
        if self._base is not current:
            return names
        return (names & self._own.keys()) | (names - current.keys())

    def __getitem__(self, name: str) -> str:
        version = self.get(name)
        if version is None:
            raise KeyError(name)
        return version

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the version of a name."""
        if self._own and name in self._own:
            version = self._own[name]
            return default if version is None else version
        return self._base.get(name, default)

    def __setitem__(self, name: str, version: str) -> None:
        if self._base.get(name) == version:
            self._own.pop(name, None)
        else:
            self._own[name] = version

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        if name in self._base:
            self._own[name] = None
        else:
            del self._own[name]

    def __contains__(self, name: object) -> bool:
        if name in self._own:
            return self._own[name] is not None
        return name in self._base

    def __iter__(self) -> Iterator[str]:
        for name in self._base:
            if name not in self._own:
                yield name
        for name, version in self._own.items():
            if version is not None:
                yield name

    def __len__(self) -> int:
        if not self._own:
            return len(self._base)
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return any(True for _ in self) if self._own else bool(self._base)
