"""Works out what a client's ACK or NACK says about what it runs.

The problem: a NACK refuses a response, but the client may have applied a part of it. Envoy applies
all good clusters and listeners; of other types it applies what came before the first bad resource,
in an order of its own; if a message can't be decoded, it applies nothing (docs/adr/0042). If the
NACK counted against all names, we would believe that too little runs. If it counted against the
names in the error text, we would rely on a text that may be cut, or may name nothing. The idea: an
answer changes only what it proves, and the rest becomes uncertain until it is sent again in smaller
groups.

| state of a name | event | next state |
| --- | --- | --- |
| outstanding | ACK | certain, in the version that was sent |
| outstanding | NACK, no other name can have changed | refused; what ran still runs |
| outstanding | NACK, others can have changed as well | uncertain, and in a trial |
| outstanding | NACK of a removal | uncertain and refused: removed again after a pause |
| uncertain | ACK of its trial | certain |
| uncertain | NACK of its trial, alone | refused |
| uncertain | NACK of its trial, with others | uncertain, in smaller trials |
| refused | its pause is over, or something is published | outstanding, alone |
| refused | another version is published | outstanding, with the others |

Example, delta; a2 is a new version of a, which the client runs as a1:

    → {a2, b, c}   ← NACK "c: no such file"   a, b and c are uncertain; trials {a, b} and {c}
    → {a2, b}      ← ACK                      a2 and b run
    → {c}          ← NACK "c: no such file"   c is refused, and sent again alone after 1, 2, 4, … s

Two kinds of client need more than the table:

- **Types with false ACKs** (`FALSE_ACK_TYPES`): they travel one resource at a time, so that a NACK
  always has one subject. A refused version is sent again only after the version that ran before,
  because otherwise its ACK would prove nothing.
- **State of the world, full-state types**: a response holds everything, so its ACK also proves that
  nothing else runs. A client that came back is *undisclosed* until its first ACK: it runs something
  and does not say what. If it refuses a response, nothing may be left out of the next one, as a
  trial would, because the client would remove what is absent. So only here the error text decides
  what was refused, and only if it is in Envoy's complete form (`trials.named_in`).
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from control_plane.xds.resource_types import FALSE_ACK_TYPES
from control_plane.xds.session.client_versions import ClientVersions
from control_plane.xds.session.response import Response
from control_plane.xds.session.subscription import ANY, Subscription
from control_plane.xds.session.trials import named_in, split
from control_plane.xds.snapshot import Snapshot


def acknowledge(
    subscription: Subscription, response: Response, snapshot: Snapshot, *, keep: bool
) -> None:
    """Record an ACK: the client runs what the response says.

    Args:
        subscription: Of the response's type.
        response: The one that was acknowledged.
        snapshot: The newest one, over whose versions those of the client are stored.
        keep: Whether to keep the resources, because they may have to be sent again.
    """
    if response.everything is not None:
        current = snapshot.resources(response.type_url).versions
        subscription.returned = ClientVersions.of(response.everything.versions, current)
        if not subscription.wildcard:
            for name in response.everything.names - subscription.names:
                subscription.returned.pop(name, None)
    else:
        for resource in response.resources:
            if subscription.wants(resource.name):
                subscription.returned[resource.name] = resource.version
    for name in response.removed:
        subscription.returned.pop(name, None)
    if keep:
        subscription.accepted |= {
            one.name: one for one in response.resources if subscription.wants(one.name)
        }
        for name in response.removed:
            subscription.accepted.pop(name, None)
    subscription.mark_acknowledged(response)


def acknowledge_full_state(
    subscription: Subscription, response: Response, published: AbstractSet[str]
) -> None:
    """Record, after `acknowledge`, that the client runs these resources and nothing else.

    Args:
        subscription: Of a full-state type, in state of the world.
        response: The one that was acknowledged.
        published: The names that are published now; others of the response are to be removed.
    """
    versions = response.versions()
    for name, version in versions.items():
        if subscription.wants(name):
            subscription.returned[name] = version
    drop_absent(subscription, response)
    subscription.uncertain.clear()
    for name in subscription.refused.keys() - published:
        subscription.clear_refusal(name)
    subscription.removed |= versions.keys() - published
    subscription.mark_certain(versions)


def refuse(subscription: Subscription, response: Response, error: str, now: float) -> None:
    """Record a NACK: it is not known which part of the response the client runs.

    Args:
        subscription: Of the response's type.
        response: The one that was refused.
        error: The client's text, in one line.
        now: The time in seconds of the session's clock.
    """
    subscription.error = error
    versions = response.versions()
    doubtful = _doubtful(subscription, response.names(), versions)
    for name in doubtful - versions.keys():
        _refuse_removal(subscription, name, error, now)
    sent = doubtful & versions.keys()
    if len(sent) == 1:
        (name,) = sent
        version = versions[name]
        retry = True
        if response.type_url in FALSE_ACK_TYPES:
            retry = _note_false_ack(subscription, name, version)
        subscription.mark_refused(name, version, error, now, retry=retry)
    elif sent:
        subscription.mark_uncertain({name: versions[name] for name in sent})
        subscription.trials = (*split(sent, error), *subscription.trials)


def refuse_undisclosed(
    subscription: Subscription, response: Response, error: str, now: float
) -> None:
    """Record a NACK of a full-state response by a client that has not disclosed what it runs.

    The arguments are those of `refuse`.
    """
    subscription.error = error
    versions = response.versions()
    named = named_in(error, versions.keys())
    for one in response.resources:
        if not subscription.wants(one.name):
            continue
        if named and one.name not in named:
            subscription.returned[one.name] = one.version
            subscription.accepted[one.name] = one
            subscription.mark_certain({one.name: one.version})
            continue
        # The client may run any older version or, where the text is unclear, this one.
        subscription.mark_uncertain({one.name: ANY})
        subscription.mark_refused(one.name, one.version, error, now)
    if named:
        drop_absent(subscription, response)
        return
    for name in response.names() - versions.keys():
        _refuse_removal(subscription, name, error, now)


def drop_absent(subscription: Subscription, response: Response) -> None:
    """Record that the client does not run what a full-state response does not contain."""
    present = {one.name for one in response.resources}
    for name in subscription.returned.keys() - present:
        subscription.returned.pop(name)
        subscription.accepted.pop(name, None)
    subscription.mark_certain(dict.fromkeys(subscription.uncertain.keys() - present, ""))


def _refuse_removal(subscription: Subscription, name: str, error: str, now: float) -> None:
    """Record that a removal is to be sent again, because nothing else tells whether it was done."""
    subscription.mark_uncertain({name: ANY})
    subscription.mark_refused(name, "", error, now)


def _note_false_ack(subscription: Subscription, name: str, version: str) -> bool:
    """Record that the next ACK of a version would be false.

    Returns:
        Whether the version may be sent again: only if another one can be sent in between.
    """
    subscription.trials = tuple(group for group in subscription.trials if group != {name})
    subscription.false_acks[name] = version
    before = subscription.accepted.get(name)
    return before is not None and before.version != version


def _doubtful(
    subscription: Subscription, names: AbstractSet[str], versions: Mapping[str, str]
) -> set[str]:
    """Return the names of a refused response whose version may have changed with the client.

    If none can have changed, the client has refused something that it runs: then all names.
    """
    changed = {
        name
        for name in names
        if subscription.returned.get(name) != versions.get(name) or name in subscription.uncertain
    }
    return {name for name in changed or names if subscription.wants(name)}
