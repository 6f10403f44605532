"""The newest key set of an issuer, from a URL or a file.

The problem: keys are rotated, so a key that is not known may be a new one. But anybody can send
tokens that name keys which don't exist, and the issuer must not be asked for each of them. And the
issuer may be away for a while, which must lock nobody out.

The idea: a set is used for `MAX_AGE_S`. After that it goes on serving while it is fetched again. A
key that is not known asks for a fetch too, and waits for it, but not more often than every
`MIN_INTERVAL_S`, whether fetches succeed or not. All who wait share one fetch. A fetch that fails
leaves the last good set.

An example: the issuer rotates to key ``b``. The first token with ``b`` starts a fetch and waits for
it. Of ten thousand tokens with keys ``x1``, ``x2``, … in the next ten seconds, none starts another.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import httpx

from control_plane.api.oidc.keys import MAX_JWKS_BYTES, BadKeySet, KeySet, read_keys
from control_plane.api.oidc.provider import Provider

log = logging.getLogger(__name__)
MAX_AGE_S = 300.0
"""How long a set is used before it is fetched again. A key that the issuer has taken back serves so
long, and longer while the issuer can't be reached."""
MIN_INTERVAL_S = 10.0
FETCH_S = 5.0
"""How long a fetch may take as a whole."""
_FILES = ThreadPoolExecutor(1, thread_name_prefix="oidc-keys")
"""Reads files and keys. Its thread is its own: a file system that hangs holds up nothing else."""


class FetchObserver(Protocol):
    """Counts fetches, for metrics."""

    def fetched(self, outcome: str) -> None:
        """Record that a fetch has ended: ``ok`` or ``failed``."""


class KeySource:
    """Has the newest key set of one issuer, for one event loop."""

    def __init__(
        self,
        provider: Provider,
        observer: FetchObserver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fetch nothing yet."""
        self._location = provider.jwks
        self._allowed = provider.algorithms
        self._observer = observer
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetch: asyncio.Task[None] | None = None

    async def keys(self, missing: str | None) -> KeySet | None:
        """Return the newest key set; None if there was none yet.

        Args:
            missing: The id of a key that the token needs, None for any key.
        """
        now = self._clock()
        unknown = self._keys is None or (missing is not None and not self._keys.has(missing))
        if unknown:
            self._start(now)
            if self._fetch is not None:
                # A client that hangs up ends its own waiting only.
                await asyncio.wait({self._fetch})
        elif now - self._fetched_at >= MAX_AGE_S:
            self._start(now)
        return self._keys

    async def close(self) -> None:
        """End a fetch under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    def _start(self, now: float) -> None:
        """Start a fetch, unless one runs, or one was tried a moment ago."""
        if self._fetch is None and now - self._tried_at >= MIN_INTERVAL_S:
            self._tried_at = now
            self._fetch = asyncio.create_task(self._refresh(), name="OIDC keys")

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                self._keys = await self._read()
            self._fetched_at = self._clock()
            self._observer.fetched("ok")
        except (BadKeySet, OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self._observer.fetched("failed")
            kept = "the last good ones stay" if self._keys else "no token can be verified"
            why = str(error)[:300] or type(error).__name__
            log.warning("the OIDC keys at %s can't be read (%s): %r", self._location, kept, why)
        finally:
            self._fetch = None

    async def _read(self) -> KeySet:
        # The system's authorities, and the keys of a large set, take tens of milliseconds.
        in_thread = functools.partial(asyncio.get_running_loop().run_in_executor, _FILES)
        if self._location.startswith(("http://", "https://")):
            context = await in_thread(httpx.create_ssl_context)
            document = await _download(self._location, context)
        else:
            document = await in_thread(_read_file, Path(self._location))
        keys: KeySet = await in_thread(read_keys, document, self._allowed)
        return keys


async def _download(url: str, context: ssl.SSLContext) -> bytes:
    # No redirect is followed: the keys come from where the operator has said.
    async with (
        httpx.AsyncClient(verify=context, timeout=FETCH_S) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as response,
    ):
        if response.status_code != 200:
            raise BadKeySet(f"the answer is HTTP {response.status_code}")
        body = b""
        async for piece in response.aiter_bytes(1 << 16):
            body += piece
            if len(body) > MAX_JWKS_BYTES:
                raise BadKeySet(f"it has more than {MAX_JWKS_BYTES} bytes")
        return body


def _read_file(path: Path) -> bytes:
    status = path.stat()
    # Opening a FIFO would wait for its writer.
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_JWKS_BYTES:
        raise BadKeySet(f"it is no regular file of at most {MAX_JWKS_BYTES} bytes")
    return path.read_bytes()
