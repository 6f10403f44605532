"""Names the rules of a ruleset by what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGITS = 16


def rules_digest(document: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits of a loaded ruleset; equal ones decide every request alike.

    Name, description and layout of the text don't count.
    """
    rules = {name: document.get(name) for name in ("defaults", "rules")}
    text = json.dumps(rules, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
