"""Client Status Discovery (CSDS): what each connected Envoy runs, as the fleet knows it.

An xDS client may offer CSDS about itself. This is the management server's view of all its clients
(envoy/service/status/v3/csds.proto), so both ``config_status`` and ``client_status`` are set.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import grpc
import re2
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc

from control_plane.names import SDS
from control_plane.xds.fleet.envoy_version import parsed
from control_plane.xds.fleet.fleet import Fleet
from control_plane.xds.fleet.node import NodeStatus
from control_plane.xds.session.status import ResourceState, ResourceStatus

SERVICE = csds_pb2.DESCRIPTOR.services_by_name["ClientStatusDiscoveryService"].full_name
MAX_ANSWER_BYTES = 32 << 20
MAX_MATCHERS = 100
MAX_PATTERN_CHARS = 256
"""Of a node id's regex; ids are not longer themselves."""
_PATTERN_BYTES = 16 << 10
"""RE2's memory for one such pattern: it gives up on larger ones within a millisecond."""
MAX_REQUESTS_PER_STREAM = 1000
_CONFIG_STATUS = {
    ResourceState.ACKED: csds_pb2.SYNCED,
    ResourceState.BEHIND: csds_pb2.STALE,
    ResourceState.NACKED: csds_pb2.ERROR,
    ResourceState.SENT: csds_pb2.STALE,
    ResourceState.REQUESTED: csds_pb2.NOT_SENT,
    ResourceState.MISSING: csds_pb2.NOT_SENT,
}
_Resource = config_dump_shared_pb2.ClientResourceStatus
_CLIENT_STATUS = {
    ResourceState.ACKED: _Resource.ACKED,
    ResourceState.BEHIND: _Resource.ACKED,
    ResourceState.NACKED: _Resource.NACKED,
    ResourceState.SENT: _Resource.REQUESTED,
    ResourceState.REQUESTED: _Resource.REQUESTED,
    ResourceState.MISSING: _Resource.DOES_NOT_EXIST,
}


class BadMatcher(Exception):
    """A node matcher is not supported; the text says why."""


class TooLarge(Exception):
    """The answer would be longer than `MAX_ANSWER_BYTES`."""


class ClientStatus(csds_pb2_grpc.ClientStatusDiscoveryServiceServicer):  # type: ignore[misc]
    """The gRPC service over a fleet."""

    def __init__(self, fleet: Fleet, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._fleet = fleet
        self._max_answer_bytes = max_answer_bytes

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        csds_pb2_grpc.add_ClientStatusDiscoveryServiceServicer_to_server(self, server)

    async def FetchClientStatus(  # noqa: N802 - gRPC's name
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        """Return the connected nodes that match."""
        return await self._answer(request, context)

    async def StreamClientStatus(  # noqa: N802
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        """Yield one answer for each request, as of the time of the request."""
        count = 0
        async for request in requests:
            count += 1
            if count > MAX_REQUESTS_PER_STREAM:
                detail = f"{MAX_REQUESTS_PER_STREAM} requests on one stream; open another"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, detail)
            yield await self._answer(request, context)

    async def _answer(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await self._collect(request)
        except BadMatcher as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except TooLarge as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))

    async def _collect(self, request: Any) -> Any:
        matches = node_filter(request.node_matchers)
        contents = not request.exclude_resource_contents
        answer = csds_pb2.ClientStatusResponse()
        size = 0
        for node in self._fleet.nodes():
            if not node.connected or not matches(node.id):
                continue
            config = client_config(node, self._fleet.resources(node.id), contents=contents)
            size += config.ByteSize()
            if size > self._max_answer_bytes:
                raise TooLarge(
                    f"the answer is over {self._max_answer_bytes} bytes: ask for fewer nodes with "
                    "node_matchers, or set exclude_resource_contents"
                )
            answer.config.append(config)
            # A large fleet must not keep the event loop from serving it.
            await asyncio.sleep(0)
        return answer


def client_config(node: NodeStatus, resources: Iterable[ResourceStatus], *, contents: bool) -> Any:
    """Return one node's ClientConfig.

    Args:
        node: The node.
        resources: What it has.
        contents: Whether to include the resources themselves, as far as they may be entry.
    """
    config = csds_pb2.ClientConfig()
    config.node.id, config.node.cluster = node.id, node.group
    if numbers := parsed(node.version):
        version = config.node.user_agent_build_version.version
        version.major_number, version.minor_number, version.patch = numbers
    for status in resources:
        entry = config.generic_xds_configs.add(
            type_url=status.type_url,
            name=status.name,
            version_info=status.version,
            config_status=_CONFIG_STATUS[status.state],
            client_status=_CLIENT_STATUS[status.state],
        )
        if status.state is ResourceState.NACKED:
            entry.error_state.details = status.error
            entry.error_state.version_info = status.refused_version
        # A caller that may ask for statuses must not thereby read private keys.
        if contents and status.content is not None and status.type_url != SDS:
            entry.xds_config.type_url = status.type_url
            entry.xds_config.value = status.content.body
    return config


def node_filter(matchers: Sequence[Any]) -> Callable[[str], bool]:
    """Return a test whether a node id matches any of the NodeMatchers; without one, all do.

    Raises:
        BadMatcher: A matcher is by metadata (which is not kept here) or by an extension, or has a
            regex that RE2 refuses; or there are more than `MAX_MATCHERS`.
    """
    if len(matchers) > MAX_MATCHERS:
        raise BadMatcher(f"{len(matchers)} node_matchers; at most {MAX_MATCHERS}")
    tests = [_node_matcher(matcher) for matcher in matchers]
    return lambda node_id: not tests or any(test(node_id) for test in tests)


def _node_matcher(matcher: Any) -> Callable[[str], bool]:
    if matcher.node_metadatas:
        raise BadMatcher("node_metadatas: metadata is not kept here; match by node_id")
    if not matcher.HasField("node_id"):
        return lambda _: True
    return _string_matcher(matcher.node_id)


def _string_matcher(matcher: Any) -> Callable[[str], bool]:
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return _regex_matcher(matcher.safe_regex.regex)
    if kind not in {"exact", "prefix", "suffix", "contains"}:
        raise BadMatcher(f"node_id: {kind or 'an empty matcher'} is not supported; write exact")
    folded: Callable[[str], str] = str.lower if matcher.ignore_case else str
    pattern_text = folded(getattr(matcher, kind))
    tests: dict[str, Callable[[str], bool]] = {
        "exact": lambda text: folded(text) == pattern_text,
        "prefix": lambda text: folded(text).startswith(pattern_text),
        "suffix": lambda text: folded(text).endswith(pattern_text),
        "contains": lambda text: pattern_text in folded(text),
    }
    return tests[kind]


def _regex_matcher(regex: str) -> Callable[[str], bool]:
    if len(regex) > MAX_PATTERN_CHARS:
        raise BadMatcher(f"node_id.safe_regex: it is longer than {MAX_PATTERN_CHARS} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_BYTES
    try:
        pattern = re2.compile(regex, options)
    except re2.error as error:
        raise BadMatcher(f"node_id.safe_regex: RE2 refuses it: {error}") from error
    return lambda text: pattern.fullmatch(text) is not None
