"""gRPC channels with certificates that are replaced while the agent runs.

The problem: SPIRE's certificates live for an hour, and an agent for months. A gRPC channel keeps
the certificate that it was made with, so that after an hour it could not connect again.

The idea: each call is opened on the newest channel, and a new channel is made when the files were
replaced (see `process.pem_files`). The old one keeps its calls and is closed after its last one, so
that no stream is broken off.

An example: a stream of configuration is open since noon, and its certificate was replaced at one.
The stream goes on. At two the control plane restarts; the stream ends, and the next one is opened
with the certificate that is on disk then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from control_plane.process import pem_files

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files for mutual TLS."""

    certificate: Path
    """The node's certificate."""
    key: Path
    """The key of that certificate."""
    ca: Path
    """The authority that has signed the control plane's certificate."""
    server_name: str
    """A DNS name in the control plane's certificate."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Return what the files hold now.

        Raises:
            OSError: One can't be read or is no PEM, or they don't fit together.
        """
        certificate = pem_files.content("certificate", self.certificate)
        key = pem_files.content("key", self.key)
        ca = pem_files.content("CA", self.ca)
        pem_files.check_authorities("CA", self.ca)
        pem_files.check_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(ca, key, certificate)


@dataclass(slots=True, eq=False)
class _Channel:
    """A channel, and how many calls are open on it."""

    channel: grpc.aio.Channel
    calls: int = 0
    replaced: bool = False


class Channels:
    """Opens calls to one target, each on a channel with the newest usable certificate."""

    def __init__(
        self,
        target: str,
        tls: ClientTls | None,
        options: Options,
        tls_failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Make the first channel.

        Args:
            target: ``host:port``.
            tls: The files of mutual TLS; None for plaintext.
            options: gRPC's channel arguments.
            tls_failed: Is called when the files were replaced by ones that can't be used.

        Raises:
            OSError: A TLS file can't be used.
        """
        self._target = target
        self._tls = tls
        self._options = options
        self._closing: set[asyncio.Task[None]] = set()
        self._files = None
        if tls is None:
            self._newest = _Channel(grpc.aio.insecure_channel(target, options=options))
        else:
            paths = (tls.certificate, tls.key, tls.ca)
            self._files = pem_files.Replaceable(paths, tls.credentials, tls_failed)
            self._newest = self._secured(tls, self._files.first)
        self._open = {self._newest}

    def open(self, start: Callable[[grpc.aio.Channel], Any]) -> Any:
        """Return a call that ``start`` begins on the newest channel."""
        self._renew()
        used = self._newest
        call = start(used.channel)
        used.calls += 1
        call.add_done_callback(lambda _: self._ended(used))
        return call

    def usable(self) -> bool:
        """Return whether the TLS files can be used as they are now. Threads may call it."""
        return self._files is None or self._files.usable()

    async def close(self) -> None:
        """Close all channels; calls that are open on them are cancelled."""
        for one in list(self._open):
            await one.channel.close(None)
        await asyncio.gather(*self._closing)

    def _secured(self, tls: ClientTls, credentials: grpc.ChannelCredentials) -> _Channel:
        named = (("grpc.ssl_target_name_override", tls.server_name),)
        options = self._options + named
        return _Channel(grpc.aio.secure_channel(self._target, credentials, options=options))

    def _renew(self) -> None:
        """Make a new channel if the files were replaced by usable ones."""
        credentials = None if self._files is None else self._files.replaced()
        if self._tls is None or credentials is None:
            return
        old, self._newest = self._newest, self._secured(self._tls, credentials)
        self._open.add(self._newest)
        old.replaced = True
        self._close_if_idle(old)

    def _ended(self, used: _Channel) -> None:
        used.calls -= 1
        self._close_if_idle(used)

    def _close_if_idle(self, one: _Channel) -> None:
        if one.replaced and not one.calls and one in self._open:
            self._open.remove(one)
            task = asyncio.create_task(one.channel.close(None))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
