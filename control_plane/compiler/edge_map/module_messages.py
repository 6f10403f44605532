"""The messages that name the module: its HTTP filters, and its input of the route matcher.

Envoy finds the file by its name on the search path of its own process, and keeps it loaded
(``do_not_close``), because the map of owners lives in the file's memory.
"""

from __future__ import annotations

from envoy.extensions.filters.http.dynamic_modules.v3 import dynamic_modules_pb2
from google.protobuf import wrappers_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from xds.core.v3 import extension_pb2

from control_plane.names import EDGE_MODULE, MODULE_FILTER_TYPE, TYPE_URL

PROGRAM_INPUT = "envoy.matching.inputs.dynamic_module_string_data_input"
_DATA_INPUT_TYPE = (
    f"{TYPE_URL}envoy.extensions.matching.http.dynamic_modules.v3.DynamicModuleDataInput"
)
_PROGRAM = "program"
"""The name of the one data input that the module has."""


def filter_message(name: str, config: str) -> AnyMessage:
    """Return one of the module's HTTP filters.

    Args:
        name: Which one: ``owners`` or ``epochs``.
        config: Its configuration, as text.
    """
    message = _message(name, wrappers_pb2.StringValue(value=config))
    return AnyMessage(type_url=MODULE_FILTER_TYPE, value=_bytes(message))


def program_input(code: bytes) -> extension_pb2.TypedExtensionConfig:
    """Return the matcher input that runs a program (``compiler.programs``) over a request.

    Its message is new in Envoy 1.40, and xds-protos does not have it yet. It has the same three
    fields with the same numbers as the message of the HTTP filter, so that one is written under
    the other's type.
    """
    message = _message(_PROGRAM, wrappers_pb2.BytesValue(value=code))
    config = AnyMessage(type_url=_DATA_INPUT_TYPE, value=_bytes(message))
    return extension_pb2.TypedExtensionConfig(name=PROGRAM_INPUT, typed_config=config)


def _message(
    name: str, config: wrappers_pb2.StringValue | wrappers_pb2.BytesValue
) -> dynamic_modules_pb2.DynamicModuleFilter:
    message = dynamic_modules_pb2.DynamicModuleFilter(filter_name=name)
    message.dynamic_module_config.name = EDGE_MODULE
    message.dynamic_module_config.do_not_close = True
    message.filter_config.Pack(config, deterministic=True)
    return message


def _bytes(message: dynamic_modules_pb2.DynamicModuleFilter) -> bytes:
    body: bytes = message.SerializeToString(deterministic=True)
    return body
