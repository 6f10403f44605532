"""Splits a refused response into groups of resources, which are sent again one by one.

After a NACK of {a, b, c} the client may run any of them, because it applies the good resources of a
response that it refuses (Envoy and gRPC do; the protocol leaves it open). Each group that is
acknowledged makes its names certain. A group of one name that is refused has found the bad one, and
the client goes on with what it had under that name.

The error text often names the bad ones. Then one group of all others and one group for each of the
named are enough. The text is a hint only: a name that it contains by accident costs one more
message.

Example: {a, b, c} is refused with "c: no such file" → {a, b}, {c}. If the text names nothing, the
names are halved: {a}, {b, c}; then {b}, {c} if b or c is bad.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

MAX_SINGLE = 32
"""If the error text names more resources than this, they are sent together first."""
_NAMING = ("Error adding/updating cluster(s) ", "Error adding/updating listener(s) ")
_CUT = ("...(truncated)", "…")
"""How a text ends that was cut by Envoy, or by `ledger`."""


def split(names: AbstractSet[str], error: str) -> tuple[frozenset[str], ...]:
    """Return the names in smaller groups; first those that are probably good.

    Args:
        names: Two or more names.
        error: The client's error text.
    """
    named = named_in(error, names) or frozenset(n for n in names if n and n in error)
    others = frozenset(names) - named
    if named and len(named) <= MAX_SINGLE:
        singles = tuple(frozenset({name}) for name in sorted(named))
        return (others, *singles) if others else singles
    if named and others:
        return others, named
    ordered = sorted(names)
    middle = len(ordered) // 2
    return frozenset(ordered[:middle]), frozenset(ordered[middle:])


def named_in(error: str, names: AbstractSet[str]) -> frozenset[str]:
    """Return the names that Envoy lists as refused; empty if it is unclear whether those are all.

    Envoy lists them for clusters and listeners: ``Error adding/updating cluster(s) a: why, b:
    why``. It has then applied all other resources of the response, and has removed what is absent
    from it (seen in 1.38 to 1.40).
    """
    if not error.startswith(_NAMING) or error.rstrip().endswith(_CUT):
        return frozenset()
    return frozenset(name for name in names if name and f"{name}: " in error)
