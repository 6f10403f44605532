"""How an Envoy identifies itself to its control plane, and the files by which it renews that.

The problem: certificates that SPIRE issues live for an hour. What Envoy reads from files that its
bootstrap names, it reads once, at its start.

The idea: Envoy watches secrets that it gets by SDS, also those from a file. So the bootstrap may
name two small documents instead of the certificates: one says where certificate and key lie, the
other where the authorities lie. Both name the directory to watch. When a file is moved into that
directory, or a symbolic link in it is replaced (as Kubernetes does), Envoy reads the certificates
again. Its open connections go on.

An example: ``/etc/cellway/tls/certificate.json`` holds ``{"resources": [{"name": "certificate",
"tlsCertificate": {"certificateChain": {"filename": "/run/spiffe/svid.pem"}, …}}]}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.service.discovery import v3 as discovery
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google.protobuf import Any as AnyMessage

from control_plane.compiler.authoring import authored

CERTIFICATE, AUTHORITIES = "certificate", "authorities"
"""The names of the two secrets; their files end in ``.json``."""
SPIFFE = "spiffe://"


@dataclass(frozen=True, slots=True)
class MemberTls:
    """Files (PEM) by which an Envoy and its control plane identify each other.

    The Envoy's certificate names it as ``spiffe://cellway/node/<group>/<node id>``.
    """

    certificate: str
    key: str
    ca: str
    server_name: str
    """A DNS name or a SPIFFE id in the control plane's certificate."""
    secrets: str | None = None
    """The directory of the documents that `secret_documents` returns; None: Envoy reads the
    certificates at its start only."""

    @classmethod
    def watched(cls, secrets: str, server_name: str) -> MemberTls:
        """Return what is for an Envoy that finds its files by the documents in a directory."""
        return cls("", "", "", server_name, secrets)


def transport_socket(files: MemberTls) -> core.TransportSocket:
    """Return how Envoy connects to its control plane."""
    is_id = files.server_name.startswith(SPIFFE)
    kinds = tls.SubjectAltNameMatcherSanType
    name = tls.SubjectAltNameMatcher(
        san_type=kinds.URI if is_id else kinds.DNS,
        matcher=matcher.StringMatcher(exact=files.server_name),
    )
    context = tls.UpstreamTlsContext(
        sni="" if is_id else files.server_name,
        common_tls_context=_fixed(files, name)
        if files.secrets is None
        else _watched(files.secrets, name),
    )
    return core.TransportSocket(
        name="envoy.transport_sockets.tls", typed_config=AnyMessage.pack(context)
    )


@authored
def secret_documents(files: MemberTls) -> dict[str, str]:
    """Return the documents for the directory ``secrets``, by the names of their files."""
    certificate = _certificate(files)
    certificate.watched_directory = _directory(files.certificate)
    authorities = tls.CertificateValidationContext(
        trusted_ca=core.DataSource(filename=files.ca), watched_directory=_directory(files.ca)
    )
    secrets = (
        tls.Secret(name=CERTIFICATE, tls_certificate=certificate),
        tls.Secret(name=AUTHORITIES, validation_context=authorities),
    )
    return {f"{secret.name}.json": _document(secret) for secret in secrets}


def _fixed(files: MemberTls, name: tls.SubjectAltNameMatcher) -> tls.CommonTlsContext:
    return tls.CommonTlsContext(
        alpn_protocols=["h2"],
        tls_certificates=[_certificate(files)],
        validation_context=tls.CertificateValidationContext(
            trusted_ca=core.DataSource(filename=files.ca), match_typed_subject_alt_names=[name]
        ),
    )


def _watched(secrets: str, name: tls.SubjectAltNameMatcher) -> tls.CommonTlsContext:
    return tls.CommonTlsContext(
        alpn_protocols=["h2"],
        tls_certificate_sds_secret_configs=[_secret(secrets, CERTIFICATE)],
        combined_validation_context=tls.CommonTlsContextCombinedCertificateValidationContext(
            default_validation_context=tls.CertificateValidationContext(
                match_typed_subject_alt_names=[name]
            ),
            validation_context_sds_secret_config=_secret(secrets, AUTHORITIES),
        ),
    )


def _certificate(files: MemberTls) -> tls.TlsCertificate:
    return tls.TlsCertificate(
        certificate_chain=core.DataSource(filename=files.certificate),
        private_key=core.DataSource(filename=files.key),
    )


def _secret(directory: str, name: str) -> tls.SdsSecretConfig:
    path = str(PurePosixPath(directory) / f"{name}.json")
    source = core.ConfigSource(
        path_config_source=core.PathConfigSource(path=path),
        resource_api_version=core.ApiVersion.V3,
    )
    return tls.SdsSecretConfig(name=name, sds_config=source)


def _directory(file: str) -> core.WatchedDirectory:
    return core.WatchedDirectory(path=str(PurePosixPath(file).parent))


def _document(secret: tls.Secret) -> str:
    response = discovery.DiscoveryResponse(resources=[AnyMessage.pack(secret)])
    document: dict[str, Any] = json.loads(response.to_json())
    return json.dumps(document, indent=2, sort_keys=True)
