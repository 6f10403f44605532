"""The one spelling of a host, of an e-mail's domain and of its local part.

DNS, browsers and mail systems take several spellings for one name. If two of them were two keys,
two cells could own the name, and a request would reach only one of them::

    GLOBEX.example.        globex.example
    globex.example。       globex.example     a dot may be U+3002, U+FF0E or U+FF61
    bücher.example         xn--bcher-kva.example
    globex.example:443     globex.example     (hosts only)
    [0:0::1]:80            [::1]              (hosts only)

The order of the steps matters: mapping by UTS 46 comes first, because it makes dots, colons and
blanks of other characters. All that follows sees ASCII dots only.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

import idna

_NAME = re.compile(r"(?:[a-z0-9_-]++\.)*+(?![0-9]+\Z|0x[0-9a-f]*\Z)[a-z0-9_-]++")
"""A domain name in its normal form. A last label that is a number makes it an IPv4 address."""
_ENDS_IN_NUMBER = re.compile(r"(?:[a-z0-9_-]++\.)*+(?:[0-9]++|0x[0-9a-f]*+)")
_UNQUOTED = re.compile(r"[^\s\"()@\\]++")
"""A local part that stands without quotes. What else RFC 5321 wants quoted is unambiguous."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = re.compile(r'(["\\])')


def host_name(value: str) -> str:
    """Return a host in lower case and ASCII, without port and without a trailing dot.

    Raises:
        ValueError: It is neither a domain name nor an IP address, or the port is no number.
    """
    host = value.strip().lower().removesuffix(".")
    if _NAME.fullmatch(host):
        # Nearly all look-ups end here.
        return host
    host = _mapped(value)
    if host.startswith("["):
        inner, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address stands in [ and ], perhaps with a port after it")
        _check_port(rest[1:])
        return _ipv6(inner)
    if host.count(":") > 1:
        return _ipv6(host)
    name, _, port = host.partition(":")
    _check_port(port)
    return _domain(name)


def domain_name(value: str) -> str:
    """Return the domain of an e-mail address in lower case and ASCII, without a trailing dot.

    Raises:
        ValueError: It is neither a domain name nor an IPv4 address.
    """
    name = value.strip().lower().removesuffix(".")
    return name if _NAME.fullmatch(name) else _domain(_mapped(value))


def local_part(value: str) -> str:
    """Return the local part of an e-mail address without quotes that it doesn't need.

    Args:
        value: The local part, with its case folded.

    Raises:
        ValueError: It has characters that need quotes, or characters that nobody sees.
    """
    quoted = _QUOTED.fullmatch(value)
    text = _ESCAPED.sub(r"\1", quoted[1]) if quoted else value
    if not text.isprintable():
        _check_visible(text)
    if _UNQUOTED.fullmatch(text):
        return text
    if quoted is None:
        raise ValueError('the local part has a blank or one of "()@\\ outside of quotes')
    return '"' + _SPECIAL.sub(r"\\\1", text) + '"'


def _mapped(value: str) -> str:
    """Return a name with what UTS 46 takes for other characters replaced; it may have any dots."""
    return idna.uts46_remap(value.strip(), std3_rules=False).strip()


def _domain(name: str) -> str:
    name = name.removesuffix(".")
    if "" in name.split("."):
        raise ValueError("it has nothing before, between or after two dots")
    if not name.isascii():
        name = idna.encode(name).decode("ascii")
    if _NAME.fullmatch(name):
        return name
    if _ENDS_IN_NUMBER.fullmatch(name):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as error:
            why = "it ends in a number and is no IPv4 address such as 10.0.0.1"
            raise ValueError(why) from error
    raise ValueError("a domain name has letters, digits, -, _ and dots only")


def _ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("an IPv6 address has no zone here")
    return f"[{ipaddress.IPv6Address(text)}]"


def _check_port(port: str) -> None:
    if port and not (port.isascii() and port.isdigit()):
        raise ValueError("the port is no number")


def _check_visible(text: str) -> None:
    """Raise `ValueError` for a character that has no width of its own, such as U+200B.

    A mail system drops it, refuses it or keeps it, so the address has no one meaning. Joiners stay
    where the letters before them need them (RFC 5892, appendix A.1 and A.2).
    """
    for place, char in enumerate(text):
        if unicodedata.category(char) == "Cf" and not _joins(text, place):
            raise ValueError(f"U+{ord(char):04X} in the local part can't be seen; leave it out")


def _joins(text: str, place: int) -> bool:
    return text[place] in "\u200c\u200d" and idna.core.valid_contextj(text, place)
