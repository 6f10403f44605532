"""The states of a name: certain, uncertain, refused, and what takes it from one to another."""

from __future__ import annotations

from control_plane.names import CDS, ECDS
from control_plane.xds.resource import Resource
from control_plane.xds.session.refusal import RETRY_MIN_S
from control_plane.xds.session.response import Response
from control_plane.xds.session.subscription import ANY, Subscription

NEW = Resource(ECDS, "f", "new", b"")
OLD = Resource(ECDS, "f", "old", b"")


def test_a_name_of_two_possible_versions_may_be_any() -> None:
    subscription = Subscription()
    subscription.mark_uncertain({"a": "1", "b": "1"})
    subscription.mark_uncertain({"a": "2", "b": "1"})
    assert subscription.uncertain == {"a": ANY, "b": "1"}


def test_an_ack_makes_its_names_certain_and_ends_the_error_with_the_last_doubt() -> None:
    subscription = Subscription(error="no good")
    subscription.mark_uncertain({"a": "1", "b": "1"})
    subscription.mark_acknowledged(Response(CDS, "1", "v", (Resource(CDS, "a", "1", b""),)))
    assert (subscription.uncertain, subscription.error) == ({"b": "1"}, "no good")
    subscription.mark_acknowledged(Response(CDS, "2", "v", (), ("b",)))
    assert not subscription.in_doubt
    assert subscription.error == ""


def test_only_the_ack_of_the_refused_version_ends_its_refusal() -> None:
    subscription = Subscription()
    subscription.mark_refused("a", "2", "no good", 0)
    subscription.mark_certain({"a": "1"})
    assert subscription.refused.keys() == {"a"}
    subscription.mark_certain({"a": "2"})
    assert subscription.refused == {}


def test_a_refused_version_is_not_the_one_that_runs() -> None:
    subscription = Subscription()
    subscription.mark_uncertain({"a": "2", "b": "2"})
    subscription.mark_refused("a", "2", "no good", 0)
    subscription.mark_refused("b", "3", "no good", 0)
    assert subscription.uncertain == {"b": "2"}, "of b an older one may still run"


def test_the_longest_due_refusal_is_tried_first_and_none_before_its_time() -> None:
    subscription = Subscription()
    subscription.mark_refused("b", "1", "no good", 0)
    subscription.mark_refused("a", "1", "no good", 0.5)
    assert subscription.retry_due(RETRY_MIN_S - 0.1) == frozenset()
    assert subscription.retry_due(10) == {"b"}


def test_unsubscribing_forgets_a_name_in_every_state() -> None:
    subscription = Subscription(error="no good", removed={"d"})
    subscription.returned["a"] = "1"
    subscription.mark_uncertain({"b": "1"})
    subscription.mark_refused("c", "1", "no good", 0)
    assert subscription.sent_names() == {"a", "b", "c"}
    subscription.forget("abcd")
    assert (subscription.sent_names(), subscription.removed) == (set(), set())
    assert subscription.error == ""


def test_a_resource_whose_ack_would_be_false_is_proved_by_way_of_the_one_before() -> None:
    subscription = Subscription()
    assert subscription.proof_of(NEW) is NEW, "nothing was refused"
    subscription.accepted["f"] = OLD
    subscription.false_acks["f"] = "new"
    assert subscription.proof_of(NEW) is OLD
    assert subscription.trials == (frozenset({"f"}),), "and then the new one"
    subscription.mark_certain({"f": "old"})
    assert subscription.proof_of(NEW) is NEW, "other bytes came in between"


def test_without_anything_accepted_there_is_nothing_to_send_in_between() -> None:
    subscription = Subscription()
    subscription.false_acks["f"] = ANY
    assert subscription.proof_of(NEW) is NEW
