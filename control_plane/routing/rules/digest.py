"""A short name for the rules of a ruleset, made of what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGITS = 16


def rules_digest(document: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits; rulesets with equal ones decide every request alike.

    Name, description and layout of the text don't count.

    Args:
        document: What `document.load` gives.
    """
    rules = {name: document.get(name) for name in ("defaults", "rules")}
    text = json.dumps(rules, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
