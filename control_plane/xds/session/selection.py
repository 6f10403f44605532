"""Selects the resources of one type that a client is sent next."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from control_plane.xds.resource import Resource
from control_plane.xds.session.subscription import Subscription
from control_plane.xds.snapshot import Resources


def next_resources(
    subscription: Subscription, published: Resources, *, one_by_one: bool = False
) -> Sequence[Resource]:
    """Take the next trial if there is one, otherwise all that the client lacks.

    The names that are taken are no longer pending. Names that are not published any more are moved
    to ``subscription.removed``.

    Args:
        subscription: Of one type; changed.
        published: The resources of the type, as this client is to see them.
        one_by_one: Whether to take one resource at most; the others stay to be sent.

    Returns:
        The resources in the order of their names; ``published.ordered`` itself if it is all of them
        for a client that has nothing, so that a thousand booting clients share one tuple.
    """
    while subscription.trials:
        group, *rest = subscription.trials
        subscription.trials = tuple(rest)
        selected = _select(subscription, published, group, refused_too=True)
        if selected:
            names = {resource.name for resource in selected}
            subscription.pending -= names
            subscription.resend -= names
            return selected
    if not subscription.pending and not subscription.resend:
        return ()
    pending: AbstractSet[str] = subscription.pending
    resend = subscription.resend
    # Not clear(): an emptied set keeps its memory, and there is one for each type and node.
    subscription.pending, subscription.resend = set(), set()
    if not subscription.removed and not subscription.in_doubt:
        pending = subscription.returned.possibly_unlike(pending, published.versions)
        if _wants_all(subscription, published, pending, resend):
            return _first(subscription, published.ordered) if one_by_one else published.ordered
    selected = _select(subscription, published, pending | resend, resend=resend)
    return _first(subscription, selected) if one_by_one else selected


def _first(subscription: Subscription, selected: Sequence[Resource]) -> Sequence[Resource]:
    """Return the first resource only, and leave the others to be sent."""
    subscription.resend |= {resource.name for resource in selected[1:]}
    return selected[:1]


def _wants_all(
    subscription: Subscription,
    published: Resources,
    pending: AbstractSet[str],
    resend: AbstractSet[str],
) -> bool:
    """Return whether the client has nothing and is to be sent everything."""
    return (
        not subscription.returned
        and pending == published.names
        and (subscription.wildcard or published.names <= subscription.names)
        and resend <= published.names
    )


def _select(
    subscription: Subscription,
    published: Resources,
    names: AbstractSet[str],
    *,
    resend: AbstractSet[str] = frozenset(),
    refused_too: bool = False,
) -> list[Resource]:
    """Return those resources that the client lacks, in the order of their names.

    Args:
        subscription: Of one type; changed.
        published: The resources of the type.
        names: The names to choose from.
        resend: Names that are needed even if the client has them.
        refused_too: Whether to include resources that the client has refused in this version.
    """
    selected: list[Resource] = []
    for name in sorted(names):
        if not subscription.wants(name):
            subscription.forget((name,))
            continue
        resource = published.by_name.get(name)
        if resource is None:
            _note_removed(subscription, name, asked=name in resend)
            continue
        subscription.removed.discard(name)
        refusal = subscription.refused.get(name)
        if refusal is not None and refusal.version != resource.version:
            # Another version is published: it is new to the client, or it is the one that runs.
            subscription.clear_refusal(name)
            refusal = None
        needed = (
            subscription.returned.get(name) != resource.version
            or name in resend
            or name in subscription.uncertain
        )
        if not needed and name in subscription.false_acks:
            subscription.accepted[name] = resource
        if refused_too if refusal is not None else needed:
            selected.append(subscription.proof_of(resource))
    return selected


def _note_removed(subscription: Subscription, name: str, *, asked: bool) -> None:
    """Record that the client is to be told that a name does not exist, if it cares for it."""
    may_have = (
        name in subscription.returned
        or name in subscription.uncertain
        or name in subscription.names
    )
    subscription.clear_refusal(name)
    if may_have or asked:
        subscription.removed.add(name)
