"""The role ``classifier``: ext_authz over HTTP, here or in processes of its own, and over gRPC."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field

from control_plane.classifier.authentication import Authentication
from control_plane.classifier.cache.tiered import CachedLookup, open_cached_lookup
from control_plane.classifier.decide import Decider
from control_plane.classifier.grpc import Authorization
from control_plane.classifier.http import ClassifierServer
from control_plane.classifier.options import PortOptions
from control_plane.classifier.worker.supervisor import Workers
from control_plane.names import AUTHORIZATION_SERVICE
from control_plane.process.listening import bind, port_of
from control_plane.process.server_tls import ServerTls
from control_plane.server.foundation import Foundation
from control_plane.server.grpc_listener import GrpcListener
from control_plane.settings import CLASSIFIER_PORT, BadSetting, Settings


@dataclass(frozen=True, slots=True)
class ClassifierParts:
    """The parts by which a classifier in this process decides. HTTP and gRPC have one each."""

    decider: Decider
    lookup: CachedLookup | None
    """None on SQLite, where the decider itself looks claims up."""
    authentication: Authentication

    @classmethod
    def open(cls, foundation: Foundation) -> ClassifierParts:
        """Read cells and ruleset, and connect to the caches."""
        decider = Decider(foundation.topology)
        lookup = open_cached_lookup(
            foundation.topology, foundation.classifier_metrics, foundation.settings.redis_url
        )
        authentication = Authentication(
            foundation.topology.edge_secrets.read,
            foundation.classifier_metrics,
            demanded=foundation.settings.classifier_secret_demanded,
        )
        return cls(decider, lookup, authentication)

    async def close(self) -> None:
        """Close the connections."""
        if self.lookup is not None:
            await self.lookup.close()
        self.decider.close()


@dataclass(frozen=True, slots=True)
class LocalClassifier:
    """ext_authz over HTTP on this process's event loop."""

    port: int
    parts: ClassifierParts
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    """Always empty: there are no other processes."""

    @classmethod
    def start(cls, foundation: Foundation) -> LocalClassifier:
        """Listen and serve; raises OSError if the port is taken."""
        settings = foundation.settings
        sock = bind(settings.host, settings.classifier_port, CLASSIFIER_PORT)
        parts = ClassifierParts.open(foundation)
        server = ClassifierServer(
            parts.decider,
            foundation.classifier_metrics,
            parts.authentication,
            parts.lookup,
            _options(settings),
        )
        serving = functools.partial(server.run, sock)
        foundation.tasks.start("classifier server", serving, vital=True)
        return cls(port_of(sock), parts)

    async def stop(self) -> None:
        """Close the parts by which it decides; the background tasks end the server itself."""
        await self.parts.close()


@dataclass(frozen=True, slots=True)
class ClassifierWorkers:
    """ext_authz over HTTP in processes of its own, which share a port."""

    supervisor: Workers

    @classmethod
    async def start(cls, foundation: Foundation) -> ClassifierWorkers:
        """Start the processes and wait until one answers.

        Raises:
            OSError: the port is taken.
            ChildProcessError: all processes have ended.
            TimeoutError: none answers in time.
        """
        settings = foundation.settings
        supervisor = Workers(
            host=settings.host,
            port=settings.classifier_port,
            count=settings.classifier_workers,
            database_url=settings.database_url,
            redis_url=settings.redis_url,
            options=_options(settings),
            secret=foundation.topology.edge_secrets.read().current,
            directory=foundation.worker_files,
            restart_s=settings.classifier_restart_s,
            observer=foundation.metrics.workers,
            setting=CLASSIFIER_PORT,
        )
        try:
            await supervisor.start()
        except BaseException:
            await supervisor.stop()
            raise
        foundation.tasks.start("classifier workers", supervisor.run)
        return cls(supervisor)

    @property
    def port(self) -> int:
        """The port that they share."""
        return self.supervisor.port

    @property
    def processes(self) -> list[asyncio.subprocess.Process]:
        """The processes by slot; the supervisor replaces those that die."""
        return self.supervisor.processes

    async def stop(self) -> None:
        """End the processes."""
        await self.supervisor.stop()


def _nothing_to_tell() -> None:
    """Do nothing: over gRPC each question is checked by itself."""


def check_classifier_tls(settings: Settings) -> None:
    """Raise BadSetting if the files of the classifier's TLS can't be used; the text names them."""
    certificate, key = settings.classifier_tls_certificate, settings.classifier_tls_key
    if certificate is None or key is None:
        return
    try:
        ServerTls(certificate, key).read()
    except OSError as error:
        text = f"the classifier's certificate {certificate} and key {key} can't be used"
        raise BadSetting(f"{text}: {error.__cause__ or error}") from error


def _options(settings: Settings) -> PortOptions:
    """Return how the classifier's port treats those who connect."""
    certificate, key = settings.classifier_tls_certificate, settings.classifier_tls_key
    return PortOptions(
        max_connections=settings.classifier_max_connections,
        max_peer_connections=settings.classifier_max_peer_connections,
        secret_demanded=settings.classifier_secret_demanded,
        tls_certificate=None if certificate is None else str(certificate),
        tls_key=None if key is None else str(key),
    )


def _watch_tls(foundation: Foundation) -> None:
    """Show whether the files of the classifier's TLS can be used, for whichever process serves."""
    certificate = foundation.settings.classifier_tls_certificate
    key = foundation.settings.classifier_tls_key
    if certificate is not None and key is not None:
        foundation.metrics.tls.watch("classifier", ServerTls(certificate, key).watched().usable)


async def start_classifier(foundation: Foundation) -> LocalClassifier | ClassifierWorkers:
    """Start the classifier over HTTP: in this process or in workers, by the settings."""
    _watch_tls(foundation)
    if foundation.settings.classifier_workers == 0:
        return LocalClassifier.start(foundation)
    return await ClassifierWorkers.start(foundation)


@dataclass(frozen=True, slots=True)
class GrpcClassifier:
    """ext_authz over gRPC, on the port that other roles use too."""

    parts: ClassifierParts

    @classmethod
    def start(cls, foundation: Foundation, grpc: GrpcListener) -> GrpcClassifier:
        """Add the service to the gRPC port."""
        parts = ClassifierParts.open(foundation)
        # With mutual TLS, the caller's certificate says whether it may ask.
        plaintext = foundation.settings.grpc_tls is None
        service = Authorization(
            parts.decider,
            foundation.classifier_metrics,
            parts.authentication if plaintext else None,
            parts.lookup,
        )
        service.register(grpc.server)
        grpc.announce([AUTHORIZATION_SERVICE])
        if plaintext:
            following = functools.partial(parts.authentication.follow, on_change=_nothing_to_tell)
            foundation.tasks.start("edges' secrets over gRPC", following)
        return cls(parts)

    async def stop(self) -> None:
        """Close the parts by which it decides."""
        await self.parts.close()
