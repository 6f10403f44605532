"""How a fleet member's Envoy connects: with files that it reads once, or with files it watches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from google.protobuf import json_format

from control_plane.compiler.member_tls import MemberTls, secret_documents, transport_socket

FILES = ("/tls/c.pem", "/tls/k.pem", "/ca/ca.pem")


def context(files: MemberTls) -> Any:
    packed = transport_socket(files).typed_config
    read = tls_pb2.UpstreamTlsContext()
    read.ParseFromString(packed.value)
    return read


@pytest.mark.parametrize(
    ("name", "kind", "sni"), [("cp.example", "DNS", "cp.example"), ("spiffe://x/cp", "URI", "")]
)
def test_the_control_plane_s_name_is_checked(name: str, kind: str, sni: str) -> None:
    for files in (MemberTls(*FILES, name), MemberTls.watched("/secrets", name)):
        read = context(files)
        common = read.common_tls_context
        trusted = common.validation_context
        if files.secrets is not None:
            trusted = common.combined_validation_context.default_validation_context
        (wanted,) = trusted.match_typed_subject_alt_names
        kinds = common_pb2.SubjectAltNameMatcher.SanType
        assert (kinds.Name(wanted.san_type), wanted.matcher.exact) == (kind, name)
        assert (read.sni, list(common.alpn_protocols)) == (sni, ["h2"])


def test_files_are_watched_by_way_of_two_secrets() -> None:
    common = context(MemberTls.watched("/secrets", "cp")).common_tls_context
    assert not common.tls_certificates
    (certificate,) = common.tls_certificate_sds_secret_configs
    authorities = common.combined_validation_context.validation_context_sds_secret_config
    documents = secret_documents(MemberTls(*FILES, "cp"))
    read: dict[str, Any] = {}
    for config in (certificate, authorities):
        path = config.sds_config.path_config_source.path
        (resource,) = json.loads(documents[path.removeprefix("/secrets/")])["resources"]
        del resource["@type"]
        read[config.name] = json_format.ParseDict(resource, secret_pb2.Secret())
        assert read[config.name].name == config.name
    pair, trusted = read["certificate"].tls_certificate, read["authorities"].validation_context
    assert pair.certificate_chain.filename == "/tls/c.pem"
    assert pair.private_key.filename == "/tls/k.pem"
    assert pair.watched_directory.path == "/tls"
    assert (trusted.trusted_ca.filename, trusted.watched_directory.path) == ("/ca/ca.pem", "/ca")
