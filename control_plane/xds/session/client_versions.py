"""What one client has of one type, at the cost of what differs from what all clients have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

_NONE: Mapping[str, str] = MappingProxyType({})


class Held(MutableMapping[str, str]):
    """Versions by name: a mapping shared with other clients, and this one's differences.

    A thousand clients that run the same thousand resources share one mapping. `rebase` changes what
    is shared, never what is held. Its base is always that of its session, or nothing.
    """

    __slots__ = ("_base", "_own")

    def __init__(self, base: Mapping[str, str] = _NONE) -> None:
        self._base = base
        self._own: dict[str, str | None] = {}
        """None: it is in the base, but not here."""

    @classmethod
    def of(cls, versions: Mapping[str, str], base: Mapping[str, str]) -> Held:
        """What a client says it has, over what most clients have."""
        held = cls(base)
        if versions is not base and versions != base:
            held._own = {n: v for n, v in versions.items() if base.get(n) != v}
            held._own |= dict.fromkeys(base.keys() - versions.keys())
        return held

    def copy(self) -> Held:
        """The same, independent from here on."""
        made = Held(self._base)
        made._own = dict(self._own)
        return made

    def rebase(self, base: Mapping[str, str], changed: Iterable[str]) -> None:
        """Share another mapping, which differs from the one before in these names at most."""
        if self._base is _NONE:
            if self._own == base:
                self._base, self._own = base, {}
            return
        own: dict[str, str | None] = {}
        for name in {*self._own, *changed}:
            version = self.get(name)
            if version != base.get(name):
                own[name] = version
        self._base, self._own = base, own

    def unlike(self, names: AbstractSet[str], current: Mapping[str, str]) -> AbstractSet[str]:
        """Those of the names that may be held otherwise than in ``current``; never too few."""
        if self._base is not current:
            return names
        return (names & self._own.keys()) | (names - current.keys())

    def __getitem__(self, name: str) -> str:
        version = self.get(name)
        if version is None:
            raise KeyError(name)
        return version

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The version held of this name."""
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
