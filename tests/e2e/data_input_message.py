"""The message of the module's data input, which is new in Envoy 1.40; xds-protos lacks it.

Importing this module makes it known to protobuf, so that what Envoy dumps can be read. The fields
are those that Envoy prints; the control plane writes them by number (`edge_map.module_messages`).
"""

from __future__ import annotations

from envoy.extensions.dynamic_modules.v3 import dynamic_modules_pb2
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool

PACKAGE = "envoy.extensions.matching.http.dynamic_modules.v3"
_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_FIELDS = (
    ("dynamic_module_config", dynamic_modules_pb2.DynamicModuleConfig.DESCRIPTOR),
    ("input_name", None),
    ("input_config", any_pb2.Any.DESCRIPTOR),
)


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{PACKAGE.replace('.', '/')}/dynamic_modules.proto", package=PACKAGE, syntax="proto3"
    )
    message = file.message_type.add(name="DynamicModuleDataInput")
    for number, (name, type_) in enumerate(_FIELDS, 1):
        field = message.field.add(name=name, number=number, label=_OPTIONAL, type=_STRING)
        if type_ is not None:
            field.type = _MESSAGE
            field.type_name = f".{type_.full_name}"
            file.dependency.append(type_.file.name)
    return file


descriptor_pool.Default().Add(_file())
