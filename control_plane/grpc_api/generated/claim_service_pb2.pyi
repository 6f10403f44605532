from control_plane.grpc_api.generated import cell_info_pb2 as _cell_info_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClaimRecord(_message.Message):
    __slots__ = ("bucket", "value")
    class Bucket(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[ClaimRecord.Bucket]
        ROUTES: _ClassVar[ClaimRecord.Bucket]
    UNSPECIFIED: ClaimRecord.Bucket
    ROUTES: ClaimRecord.Bucket
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    bucket: ClaimRecord.Bucket
    value: str
    def __init__(self, bucket: _Optional[_Union[ClaimRecord.Bucket, str]] = ..., value: _Optional[str] = ...) -> None: ...

class ParentRecord(_message.Message):
    __slots__ = ("model", "id")
    class ApplicationModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[ParentRecord.ApplicationModel]
        GROUP: _ClassVar[ParentRecord.ApplicationModel]
        PROJECT: _ClassVar[ParentRecord.ApplicationModel]
        USER_NAMESPACE: _ClassVar[ParentRecord.ApplicationModel]
    UNSPECIFIED: ParentRecord.ApplicationModel
    GROUP: ParentRecord.ApplicationModel
    PROJECT: ParentRecord.ApplicationModel
    USER_NAMESPACE: ParentRecord.ApplicationModel
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    model: ParentRecord.ApplicationModel
    id: int
    def __init__(self, model: _Optional[_Union[ParentRecord.ApplicationModel, str]] = ..., id: _Optional[int] = ...) -> None: ...

class OwnerRecord(_message.Message):
    __slots__ = ("table", "id")
    class Table(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[OwnerRecord.Table]
        ROUTES: _ClassVar[OwnerRecord.Table]
    UNSPECIFIED: OwnerRecord.Table
    ROUTES: OwnerRecord.Table
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    table: OwnerRecord.Table
    id: int
    def __init__(self, table: _Optional[_Union[OwnerRecord.Table, str]] = ..., id: _Optional[int] = ...) -> None: ...

class ClaimDetails(_message.Message):
    __slots__ = ("claim", "parent", "owner")
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    claim: ClaimRecord
    parent: ParentRecord
    owner: OwnerRecord
    def __init__(self, claim: _Optional[_Union[ClaimRecord, _Mapping]] = ..., parent: _Optional[_Union[ParentRecord, _Mapping]] = ..., owner: _Optional[_Union[OwnerRecord, _Mapping]] = ...) -> None: ...

class ClaimInfo(_message.Message):
    __slots__ = ("uuid", "details", "cell_info")
    UUID_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    CELL_INFO_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    details: ClaimDetails
    cell_info: _cell_info_pb2.CellInfo
    def __init__(self, uuid: _Optional[str] = ..., details: _Optional[_Union[ClaimDetails, _Mapping]] = ..., cell_info: _Optional[_Union[_cell_info_pb2.CellInfo, _Mapping]] = ...) -> None: ...

class CreateClaimRequest(_message.Message):
    __slots__ = ("details",)
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    details: ClaimDetails
    def __init__(self, details: _Optional[_Union[ClaimDetails, _Mapping]] = ...) -> None: ...

class CreateClaimResponse(_message.Message):
    __slots__ = ("claim",)
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    claim: ClaimInfo
    def __init__(self, claim: _Optional[_Union[ClaimInfo, _Mapping]] = ...) -> None: ...

class GetClaimRequest(_message.Message):
    __slots__ = ("claim",)
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    claim: ClaimRecord
    def __init__(self, claim: _Optional[_Union[ClaimRecord, _Mapping]] = ...) -> None: ...

class GetClaimResponse(_message.Message):
    __slots__ = ("claim",)
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    claim: ClaimInfo
    def __init__(self, claim: _Optional[_Union[ClaimInfo, _Mapping]] = ...) -> None: ...
