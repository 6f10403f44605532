"""The secret that edges show the classifier: a resource, and the filter that sends it.

The secret goes to Envoy by SDS. The filter `credential_injector` of the classifier's cluster puts
it into each question, whoever asks: the edge cache's script or ext_authz. So it stands in no script
and in no listener, a rotation drains no connection, and Envoy's own config dump leaves it out.
"""

from __future__ import annotations

from envoy.config.core.v3 import config_source_pb2
from envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.http.injected_credentials.generic.v3 import generic_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import any_pb2

from control_plane.compiler.model import EnvoyResource
from control_plane.names import EDGE_SECRET_HEADER, EDGE_SECRET_NAME, SDS

_INJECTOR = "envoy.filters.http.credential_injector"
_CODEC = "envoy.filters.http.upstream_codec"
_GENERIC = "envoy.http.injected_credentials.generic"


def compile_edge_secret(secret: str) -> EnvoyResource:
    """Return the secret as Envoy gets it."""
    resource = secret_pb2.Secret(name=EDGE_SECRET_NAME)
    resource.generic_secret.secret.inline_string = secret
    return EnvoyResource(SDS, EDGE_SECRET_NAME, resource.SerializeToString(deterministic=True))


def send_secret(options: http_protocol_options_pb2.HttpProtocolOptions) -> None:
    """Have a cluster add the secret to every request that is sent to it."""
    generic = generic_pb2.Generic(header=EDGE_SECRET_HEADER)
    generic.credential.name = EDGE_SECRET_NAME
    generic.credential.sds_config.ads.SetInParent()
    generic.credential.sds_config.resource_api_version = config_source_pb2.ApiVersion.V3
    injector = credential_injector_pb2.CredentialInjector(overwrite=True)
    injector.credential.name = _GENERIC
    injector.credential.typed_config.Pack(generic)
    _add(options, _INJECTOR).Pack(injector)
    _add(options, _CODEC).Pack(upstream_codec_pb2.UpstreamCodec())


def _add(options: http_protocol_options_pb2.HttpProtocolOptions, name: str) -> any_pb2.Any:
    config: any_pb2.Any = options.http_filters.add(name=name).typed_config
    return config
