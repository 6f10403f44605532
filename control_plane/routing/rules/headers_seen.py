"""Which headers of a request the rules of a ruleset can see: edges send a classifier no others."""

from __future__ import annotations

from control_plane.routing.rules.ruleset import Ruleset, Subject


def headers_seen(ruleset: Ruleset) -> tuple[str, ...] | None:
    """Return the headers that any rule looks at, Host aside; None if they can't be named.

    Cookie is always among them.
    """
    names = {"cookie"}
    for rule in ruleset.rules:
        for match in rule.matches:
            if match.subject is Subject.HEADER:
                if not match.literal_names:
                    return None
                names |= set(match.literal_names)
    return tuple(sorted(names - {"host"}))
