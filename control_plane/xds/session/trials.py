"""In which groups the resources of a refused response are sent again.

A client that refuses a response applies those of its resources that are good (Envoy and gRPC do;
the protocol leaves it open), so after a NACK of {a, b, c} nothing is known of any of them. Each
group that is acknowledged makes its names certain; a group of one that is refused is the culprit,
and the client goes on with what it had under that name. The error text often names the culprits:
then one group of all others and one group for each of them are enough. It is a hint only: a name
that stands in it by accident costs one message more.

Example: {a, b, c} is refused with "c: no such file" → {a, b}, {c}. Refused without a name →
{a, b}, {c} by halves, and so on.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

MAX_SINGLE = 32
"""Resources that are sent one by one because the error names them; more are found by halves."""


def split(names: AbstractSet[str], error: str) -> tuple[frozenset[str], ...]:
    """Return at least two names in smaller groups, those first that are probably good."""
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


_NAMING = ("Error adding/updating cluster(s) ", "Error adding/updating listener(s) ")
_CUT = ("...(truncated)", "…")
"""How a text ends that Envoy has cut, or we (see `ledger`)."""


def named_in(error: str, names: AbstractSet[str]) -> frozenset[str]:
    """Return the names that Envoy says it has refused, if those are all; empty if that is unclear.

    So it says it of clusters and listeners: ``Error adding/updating cluster(s) a: why, b: why``.
    All others of the response are applied then, and what is absent from it is removed (Envoy 1.38
    to 1.40).
    """
    if not error.startswith(_NAMING) or error.rstrip().endswith(_CUT):
        return frozenset()
    return frozenset(name for name in names if name and f"{name}: " in error)
