"""The addon's options, and those of mitmproxy that it can't do without.

mitmproxy's defaults are made for a proxy that goes where the client says. For an addon that chooses
the server two of them are wrong: ``reverse:`` replaces the Host header before any addon sees it, so
that another name would be looked up; and the connection to the server that the client or the mode
names is opened before any addon is asked, and where that server is down, the client gets no answer.
`take_defaults_over` sets such an option if nobody has set it, and `problem` refuses another value.

mitmproxy keeps quiet about an option that it does not know, and about a value that it can't read.
`misspelt` and `take_unreadable` find those that were meant for the addon.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mitmproxy import optmanager
from mitmproxy.addonmanager import Loader

MODES = ("route", "observe")
OWN = (
    ("cellway_server", str | None, None, "URL of the cellway API (else CELLWAY_SERVER)"),
    ("cellway_server_ca", str | None, None, "PEM: who signs the API's certificate"),
    ("cellway_token", str | None, None, "token for the API (else CELLWAY_TOKEN)"),
    ("cellway_mode", str, "route", "route, or observe (only say which cell)"),
    ("cellway_timeout_ms", int, 2000, "how long the API may take to answer"),
    ("cellway_refresh_s", int, 2, "how long cells and ruleset are cached"),
)
"""Name, type, default and help of each option of the addon."""
NEEDED: dict[str, tuple[Any, str]] = {
    "keep_host_header": (True, "the addon must see the host that the client asks for"),
    "connection_strategy": ("lazy", "the addon must choose the cell before a connection is made"),
}
"""Options of mitmproxy: the value that the addon needs, and why."""
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
_NUMBER = re.compile(r"-?[0-9]{1,9}\Z")
_LIKE = 0.8
"""How alike an unknown name is to one of ours for it to be taken for a misspelling."""


def declare(loader: Loader) -> None:
    """Declare the addon's options."""
    for name, typespec, default, text in OWN:
        loader.add_option(name, typespec, default, text)


def take_defaults_over(options: Any) -> list[str]:
    """Set what the addon needs where nobody has set it; return ``name=value`` of what was set."""
    known = dict(options.items())
    unset = [name for name in NEEDED if name in known and known[name].value is optmanager.unset]
    wanted = {name: NEEDED[name][0] for name in unset}
    options.update(**wanted)
    return [f"{name}={_spelt(value)}" for name, value in wanted.items()]


def problem(options: Any) -> str | None:
    """Return what is wrong with the options and how to mend it; None if they fit."""
    return next(_problems(options), None)


def take_unreadable(deferred: dict[str, Any]) -> list[str]:
    """Take values off that mitmproxy could not read; return what is wrong with them.

    It would give up loading the addon, and keep quiet about that.

    Args:
        deferred: By name, what was set before the addon's options were declared: texts as
            ``--set`` has them, or a value of the configuration file.
    """
    found = []
    for name, typespec, *_ in OWN:
        texts = getattr(deferred.get(name), "val", [deferred.get(name)])
        if name not in deferred:
            continue
        if len(texts) > 1:
            found.append(f"{name} is given {len(texts)} times; give it once")
        elif typespec is int and not _NUMBER.match(str(texts[0])):
            found.append(f"{name}={texts[0]} is no number")
        else:
            continue
        del deferred[name]
    return found


def misspelt(deferred: Iterable[str]) -> list[str]:
    """Return what is wrong with the options that belong to nobody, if they look like the addon's.

    Args:
        deferred: The names of options that mitmproxy does not know.
    """
    own = [name for name, *_ in OWN]
    found = []
    for name in deferred:
        if name.startswith("cellway") or difflib.get_close_matches(name, own, cutoff=_LIKE):
            meant = difflib.get_close_matches(name, own, n=1, cutoff=0.0)
            found.append(f"there is no option {name}; do you mean {meant[0]}?")
    return found


def _problems(options: Any) -> Iterator[str]:
    if options.cellway_mode not in MODES:
        yield f"cellway_mode={options.cellway_mode} is none of {', '.join(MODES)}"
    server = options.cellway_server
    if server is not None and not server.startswith(("http://", "https://")):
        yield f"cellway_server={server} is no URL; write one such as http://127.0.0.1:8000"
    token = options.cellway_token
    if token is not None and not _TOKEN.match(token):
        yield "cellway_token is empty or no token: set it, or leave it out"
    ca = options.cellway_server_ca
    if ca is not None and not Path(ca).is_file():
        yield f"cellway_server_ca={ca} is no file"
    if options.cellway_timeout_ms < 1:
        yield f"cellway_timeout_ms={options.cellway_timeout_ms} is no positive number"
    if options.cellway_refresh_s < 0:
        yield f"cellway_refresh_s={options.cellway_refresh_s} is negative"
    for name, (wanted, why) in NEEDED.items():
        # Tests of addons run without the parts of mitmproxy that have these options.
        if name in options and getattr(options, name) != wanted:
            given = f"{name}={_spelt(getattr(options, name))}"
            yield f"{given} can't be used: {why}; set {name}={_spelt(wanted)} or leave it out"


def _spelt(value: Any) -> str:
    """Return a value as ``--set`` takes it."""
    return str(value).lower()
