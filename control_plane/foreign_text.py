"""Text of strangers, made fit for a line of a log and for a terminal.

The problem: a node id, a claim's value or a client's error text may hold a line feed, which forges
a line of a log, an escape sequence, which a terminal obeys, or a bidirectional override, which
shows another text than the one that is there. The idea: such characters are replaced where text
leaves the program, once for each way out: `LogFormatter` for logs, `cli.output` for the command.

    "ann\\n2026 ERROR x"  becomes  "ann\\\\n2026 ERROR x", with a backslash and an n
"""

from __future__ import annotations

import logging
import re
from types import TracebackType

MAX_LOGGED_CHARS = 16_384
"""The longest message in a line of a log. What is longer is cut, and the line says so."""
_HARMFUL = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences, ends of lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the direction of writing
    "\u2028\u2029\ufeff"  # other ends of lines, and the byte order mark
    "\ud800-\udfff"  # surrogates, which can't be encoded
)
_NEEDS_ESCAPE = re.compile(f"[{_HARMFUL}]")
_NEEDS_ESCAPE_IN_LINES = re.compile(f"(?!\n)[{_HARMFUL}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """Return a text with every character that is no visible one of a line as its escape."""
    return _NEEDS_ESCAPE.sub(_escape, text)


def visible_lines(text: str) -> str:
    """Return the same for a text of several lines, whose line feeds stay."""
    return _NEEDS_ESCAPE_IN_LINES.sub(_escape, text)


def json_text(serialised: str) -> str:
    """Return a JSON document with the escapes of JSON for what a terminal must not get raw.

    Args:
        serialised: The document. Line feeds between its tokens stay.
    """
    return _NEEDS_ESCAPE_IN_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", serialised)


def is_visible(text: str) -> bool:
    """Tell whether a text can be shown as it is; line feeds count as visible."""
    return _NEEDS_ESCAPE_IN_LINES.search(text) is None


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class LogFormatter(logging.Formatter):
    """Formats records so that one message is one line, whatever it holds.

    Lines of a traceback are indented, so that the text of an exception forges no line either.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the record as one line."""
        line = super().formatMessage(record)
        if len(line) > MAX_LOGGED_CHARS:
            line = f"{line[:MAX_LOGGED_CHARS]}… (cut, {len(line)} characters)"
        return visible(line)

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        """Return a traceback, indented."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Return a stack, indented."""
        return _indented(super().formatStack(stack_info))


def log_to_stderr(level: int, form: str = logging.BASIC_FORMAT) -> None:
    """Log to stderr from this level on, with `LogFormatter`."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])


def _indented(text: str) -> str:
    lines = visible_lines(text).split("\n")
    return "\n".join(f"  {line[:MAX_LOGGED_CHARS]}" for line in lines)
