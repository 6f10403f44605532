"""Which resources of a type a client is to be sent now."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from control_plane.xds.resource import Resource
from control_plane.xds.session.subscription import Subscription
from control_plane.xds.snapshot import OfType


def due(
    subscription: Subscription, published: OfType, *, one_by_one: bool = False
) -> Sequence[Resource]:
    """Return what to send: the next trial if there is one, else all that has changed.

    Names that are not published any more are noted as removed. ``one_by_one``: at most one
    resource; the others are due next.
    """
    while subscription.trials:
        group, *rest = subscription.trials
        subscription.trials = tuple(rest)
        offered = _offer(subscription, published, group, refused_too=True)
        if offered:
            names = {resource.name for resource in offered}
            subscription.pending -= names
            subscription.resend -= names
            return offered
    if not subscription.pending and not subscription.resend:
        return ()
    pending: AbstractSet[str] = subscription.pending
    resend = subscription.resend
    # Not clear(): an emptied set keeps its memory, and there is one for each type and node.
    subscription.pending, subscription.resend = set(), set()
    if not subscription.removed and not subscription.in_doubt:
        pending = subscription.has.unlike(pending, published.versions)
        if _wants_all(subscription, published, pending, resend):
            return published.ordered if not one_by_one else _first(subscription, published.ordered)
    offered = _offer(subscription, published, pending | resend, resend=resend)
    return _first(subscription, offered) if one_by_one else offered


def _first(subscription: Subscription, offered: Sequence[Resource]) -> Sequence[Resource]:
    subscription.resend |= {resource.name for resource in offered[1:]}
    return offered[:1]


def _wants_all(
    subscription: Subscription,
    published: OfType,
    pending: AbstractSet[str],
    resend: AbstractSet[str],
) -> bool:
    """Return whether a client that has nothing is to get everything: one answer for all such."""
    return (
        not subscription.has
        and pending == published.names
        and (subscription.wildcard or published.names <= subscription.names)
        and resend <= published.names
    )


def _offer(
    subscription: Subscription,
    published: OfType,
    names: AbstractSet[str],
    *,
    resend: AbstractSet[str] = frozenset(),
    refused_too: bool = False,
) -> list[Resource]:
    """Return those of the names that the client lacks, in the order of their names."""
    offered: list[Resource] = []
    for name in sorted(names):
        if not subscription.wants(name):
            subscription.forget((name,))
            continue
        resource = published.resources.get(name)
        if resource is None:
            _note_removed(subscription, name, asked=name in resend)
            continue
        subscription.removed.discard(name)
        refusal = subscription.refused.get(name)
        if refusal is not None and refusal.version != resource.version:
            # Another version is a new one to try; the one that runs needs no trial.
            subscription.unrefuse(name)
            refusal = None
        lacking = (
            subscription.has.get(name) != resource.version
            or name in resend
            or name in subscription.uncertain
        )
        if not lacking and name in subscription.remembered:
            subscription.good[name] = resource
        if refused_too if refusal is not None else lacking:
            offered.append(subscription.proof_of(resource))
    return offered


def _note_removed(subscription: Subscription, name: str, *, asked: bool) -> None:
    may_have = (
        name in subscription.has or name in subscription.uncertain or name in subscription.names
    )
    subscription.unrefuse(name)
    if may_have or asked:
        subscription.removed.add(name)
