"""Says in the words of commands what the API says in its own: options for parameters and headers.

For example ``repeat with ?force=true`` becomes ``repeat with --force``.
"""

from __future__ import annotations

import re

_TOKEN = "the server wants a valid token: set CELLWAY_TOKEN (or --token)"  # noqa: S105 - a text
_WORDS = (
    (re.compile(r"send Authorization: Bearer <token>"), _TOKEN),
    (re.compile(r"\?force=true and a reason\b"), "--force and --reason"),
    (re.compile(r"\?force=true"), "--force"),
    (re.compile(r"\?dry_run=true"), "--dry-run"),
    (re.compile(r"\?wait=fleet"), "--wait"),
    (re.compile(r"send If-Match\b"), "give --if-match"),
    (re.compile(r"\bIf-Match\b"), "--if-match"),
    (re.compile(r"\btimeout (?=')"), "--timeout "),
    (re.compile(r"GET /v1/topology\b"), "cellway export"),
    (re.compile(r"GET /v1/changes\?since=(\d+)"), r"cellway changes --since \1"),
    (re.compile(r" \(see /docs\)"), ""),
    (re.compile(r"\bbody\.(?=[a-z_])"), ""),
    (re.compile(r"\bquery\.([a-z_]+)"), lambda found: option_of(found[1])),
)
"""How the API says something, and how the commands do."""


def in_words_of_commands(text: str) -> str:
    """Return a text of the API as a user of commands can follow it."""
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text


def option_of(name: str) -> str:
    """Return the option that sets a parameter or a setting: ``--api-port`` for ``api_port``."""
    return "--" + name.replace("_", "-")
