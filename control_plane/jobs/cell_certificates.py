"""Verifies the certificates of cells for the control plane's probes, exactly as Envoy does.

Envoy verifies with BoringSSL and matches names by rules of its own. Python's defaults differ in
both: they refuse certificates without an Authority Key Identifier, take a common name for a DNS
name, read wildcards otherwise, and refuse short keys. A cell that Envoy trusts would look down. So
the chain is verified here with the flags that Envoy sets, and names are matched by Envoy's rules.
One difference is left: Envoy believes an anchor whatever its basic constraints say, and OpenSSL
does not.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from control_plane.jobs.endpoint_addresses import addresses_of
from control_plane.topology.values.cell import Cell
from control_plane.topology.values.endpoint import Endpoint, ServerName, host_problem
from control_plane.topology.values.endpoint_policy import EndpointPolicy

MAX_TRUST_BYTES = 1 << 22
"""The largest file of authorities. A system's whole trust store has about a sixteenth of that."""
_FILES = ThreadPoolExecutor(2, thread_name_prefix="cell-authorities")
"""Reads such files. It has threads of its own: a file system that hangs holds up nothing else."""
_CRL = b"-----BEGIN X509 CRL-----"


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(endpoint: Endpoint, cell: Cell, policy: EndpointPolicy) -> Streams:
    """Connect to a cell's endpoint, with TLS if the cell has it.

    Raises:
        ssl.SSLError: Envoy would not trust this endpoint, or the file of authorities can't be read.
        OSError: the endpoint can't be reached.
        ValueError: the endpoint or the server name can't be one. Such cells are stored: what is
            declared was not always checked.
        EndpointDenied: no cell may have this endpoint.
    """
    if problem := endpoint.problem():
        raise ValueError(f"{endpoint.host!r} {problem[0]}")
    addresses = await addresses_of(endpoint, policy)
    if cell.tls is None:
        return await _open_first(addresses, endpoint.port)
    if problem := host_problem(cell.server_name.text):
        raise ValueError(f"the server name {cell.server_name.text!r} {problem[0]}")
    try:
        reading = asyncio.get_running_loop().run_in_executor(_FILES, trust_in, cell.tls.trust_file)
        context = await reading
    except (OSError, ValueError) as error:
        raise ssl.SSLError(1, f"the authorities can't be read: {error}") from error
    name = cell.server_name.text
    reader, writer = await _open_first(addresses, endpoint.port, context, name)
    try:
        check_name(writer.get_extra_info("ssl_object"), cell.server_name)
    except ssl.SSLError:
        writer.close()
        raise
    return reader, writer


async def _open_first(
    addresses: list[str],
    port: int,
    context: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> Streams:
    """Connect to the first address that answers; raise the last one's `OSError` if none does."""
    for address in addresses[:-1]:
        try:
            return await asyncio.open_connection(
                address, port, ssl=context, server_hostname=server_name
            )
        except ssl.SSLError:
            raise
        except OSError:
            continue
    return await asyncio.open_connection(
        addresses[-1], port, ssl=context, server_hostname=server_name
    )


def trust_in(file: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a PEM file, as of the file's last change.

    It does not check the peer's name; `check_name` does. It blocks.

    Raises:
        OSError: the file can't be read, is no regular file, is empty or too large, or holds no
            certificate (`ssl.SSLError`).
        ValueError: this is no file name.
    """
    # An operator may name any path. Opening a FIFO waits for a writer, and reading a device or
    # a file of the kernel (whose size is 0) may never end. So only regular files are opened.
    status = Path(file).stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", file)
    if not 0 < status.st_size <= MAX_TRUST_BYTES:
        raise OSError(errno.EFBIG, f"it does not have 1 to {MAX_TRUST_BYTES} bytes", file)
    return _context(file, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _context(file: str, changed_ns: int) -> ssl.SSLContext:  # noqa: ARG001 - a cache key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Envoy's library refuses neither short keys nor SHA-1. To it each certificate in the file is an
    # anchor, even an intermediate one.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    if _CRL in Path(file).read_bytes():
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    context.load_verify_locations(cafile=file)
    return context


def check_name(connection: ssl.SSLObject, name: ServerName) -> None:
    """Check that the peer's certificate is for a name.

    Raises:
        ssl.SSLCertVerificationError: it isn't; the text has the names that it is for.
    """
    certificate = connection.getpeercert() or {}
    # Pairs such as ("DNS", "a.test"). The type that typeshed gives the dictionary is wider.
    names: tuple[Any, ...] = tuple(certificate.get("subjectAltName", ()))
    if not any(_carries(kind, text, name) for kind, text in names):
        raise ssl.SSLCertVerificationError(1, f"no certificate for {name.text}, but for {names}")


def _carries(kind: str, text: str, name: ServerName) -> bool:
    if name.is_ip:
        return kind == "IP Address" and _same_ip(text, name.text)
    return kind == "DNS" and dns_name_matches(name.text, text)


def _same_ip(text: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(text.strip()) == ipaddress.ip_address(wanted)
    except ValueError:
        return False


def dns_name_matches(name: str, pattern: str) -> bool:
    """Return whether a name matches one of a certificate's, which may have a wildcard.

    A wildcard is one asterisk anywhere in the first label, and it matches a part of one label, even
    an empty part. A first label that is international (``xn--``) has no wildcard.
    """
    name, pattern = name.lower(), pattern.lower()
    if name == pattern:
        return True
    label, dot, rest = name.partition(".")
    start, other_dot, other_rest = pattern.partition(".")
    if not (dot and other_dot) or rest != other_rest or start.startswith("xn--"):
        return False
    before, asterisk, after = start.partition("*")
    return (
        bool(asterisk)
        and "*" not in after
        and len(start) <= len(label) + 1
        and label.startswith(before)
        and label.endswith(after)
    )
