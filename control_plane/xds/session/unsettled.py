"""What a stream that ends leaves open about its client, and how the node's next stream uses it.

A client that reconnects names the versions that it accepted. That is not always what it runs: it
may have applied a part of a response that it refused, or have been cut off before it answered.
Another stream of the same node knows nothing of that, so `Fleet` hands it over.

Example: {a2, b2} was refused and the stream ends. The client runs a2, and says on its next stream
that it has a1. If a1 is published again meanwhile, nothing would be sent, and a2 would go on
running. With ``Unsettled(versions={"a": "2", "b": "2"})`` both names are uncertain and are sent
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from control_plane.xds.resource import Resource
from control_plane.xds.resource_types import FALSE_ACK_TYPES
from control_plane.xds.session.refusal import Refusal
from control_plane.xds.session.subscription import ANY, Subscription


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What is not certain about one type of a node whose stream has ended.

    The fields other than ``versions`` are those of `Subscription`, for types with false ACKs.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    """By name, the version that the client may run; `ANY` for several, empty for none."""
    accepted: Mapping[str, Resource] = field(default_factory=dict)
    false_acks: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.versions or self.false_acks or self.accepted)


NOTHING_UNSETTLED = Unsettled()


def unsettled_of(type_url: str, subscription: Subscription) -> Unsettled:
    """Return what would not be certain about a type if its stream ended now."""
    versions = dict(subscription.uncertain)
    if (response := subscription.outstanding) is not None:
        sent = response.versions()
        for name in response.names():
            version = sent.get(name, "")
            versions[name] = ANY if versions.get(name, version) != version else version
    if type_url not in FALSE_ACK_TYPES:
        return Unsettled(versions)
    return Unsettled(versions, subscription.accepted, subscription.false_acks, subscription.refused)


def take_over(
    type_url: str,
    subscription: Subscription,
    unsettled: Unsettled,
    published: Mapping[str, Resource],
) -> None:
    """Make uncertain in a new subscription what an earlier stream left open.

    Args:
        type_url: The type.
        subscription: After the client's first request of the type.
        unsettled: What the earlier stream left.
        published: The resources of the type, by name.
    """
    wants = subscription.wants
    # A client that names the very version has accepted it.
    doubtful = {
        name: version
        for name, version in unsettled.versions.items()
        if wants(name) and (subscription.returned.get(name) or "") != version
    }
    subscription.mark_uncertain(doubtful)
    subscription.pending |= doubtful.keys()
    subscription.refused |= {name: one for name, one in unsettled.refused.items() if wants(name)}
    if type_url not in FALSE_ACK_TYPES:
        return
    subscription.accepted |= unsettled.accepted
    subscription.accepted |= {
        name: published[name]
        for name, version in subscription.returned.items()
        if name in published and published[name].version == version
    }
    unknown = dict.fromkeys(unsettled.versions, ANY)
    subscription.false_acks = unknown | dict(unsettled.false_acks)
