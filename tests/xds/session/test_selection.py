"""Which resources of a type are sent next, and which names are told as removed."""

from __future__ import annotations

from control_plane.names import CDS
from control_plane.xds.resource import Resource
from control_plane.xds.session.selection import next_resources
from control_plane.xds.session.subscription import Subscription
from control_plane.xds.snapshot import Resources


def published(**versions: str) -> Resources:
    return Resources({name: Resource(CDS, name, one, b"") for name, one in versions.items()})


def names(subscription: Subscription, resources: Resources, *, one_by_one: bool = False) -> str:
    selected = next_resources(subscription, resources, one_by_one=one_by_one)
    return "".join(resource.name for resource in selected)


def test_a_client_that_has_nothing_and_wants_everything_gets_the_shared_tuple() -> None:
    resources = published(b="1", a="1")
    subscription = Subscription(wildcard=True, pending={"a", "b"})
    assert next_resources(subscription, resources) is resources.ordered
    assert subscription.pending == set()
    assert next_resources(subscription, resources) == ()


def test_only_what_differs_from_what_the_client_has_is_sent() -> None:
    subscription = Subscription(wildcard=True, pending={"a", "b", "c"}, resend={"c"})
    subscription.returned.update(a="1", b="1", c="1")
    assert names(subscription, published(a="1", b="2", c="1")) == "bc"


def test_one_by_one_the_others_wait_for_the_next_turn() -> None:
    resources = published(a="1", b="1", c="1")
    subscription = Subscription(wildcard=True, pending={"a", "b", "c"})
    assert names(subscription, resources, one_by_one=True) == "a"
    assert names(subscription, resources, one_by_one=True) == "b"
    assert subscription.resend == {"c"}


def test_a_trial_goes_before_everything_else() -> None:
    resources = published(a="2", b="2", c="2")
    subscription = Subscription(wildcard=True, pending={"a", "c"})
    subscription.mark_uncertain({"a": "2", "b": "2"})
    subscription.trials = (frozenset("a"), frozenset("b"))
    assert names(subscription, resources) == "a"
    assert names(subscription, resources) == "b"
    assert names(subscription, resources) == "c"


def test_a_refused_version_is_sent_in_a_trial_only_and_another_at_once() -> None:
    subscription = Subscription(wildcard=True, pending={"a"})
    subscription.mark_refused("a", "bad", "no good", 0)
    assert names(subscription, published(a="bad")) == ""
    subscription.trials = (frozenset("a"),)
    assert names(subscription, published(a="bad")) == "a"
    subscription.pending = {"a"}
    assert names(subscription, published(a="good")) == "a"
    assert subscription.refused == {}


def test_names_that_are_gone_are_told_only_to_who_may_have_them_or_asked() -> None:
    subscription = Subscription(wildcard=True, names=frozenset({"named"}))
    subscription.returned["had"] = "1"
    subscription.mark_uncertain({"maybe": "1"})
    subscription.pending = {"had", "maybe", "named", "never"}
    subscription.resend = {"asked"}
    assert names(subscription, published()) == ""
    assert subscription.removed == {"had", "maybe", "named", "asked"}


def test_what_is_published_again_is_not_removed() -> None:
    subscription = Subscription(wildcard=True, pending={"a"}, removed={"a"})
    assert names(subscription, published(a="1")) == "a"
    assert subscription.removed == set()


def test_what_is_pending_and_not_wanted_any_more_is_forgotten() -> None:
    subscription = Subscription(names=frozenset({"a"}), pending={"a", "b"})
    subscription.returned["b"] = "1"
    assert names(subscription, published(a="1", b="2")) == "a"
    assert "b" not in subscription.returned
