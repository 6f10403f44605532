"""What is generated is what the sources say, and the sources are what the facts say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from control_plane.grpc_api.generated import (
    autz_pb2,
    cell_service_pb2,
    claim_service_pb2,
    classify_service_pb2,
    health_service_pb2,
    sequence_service_pb2,
)
from control_plane.grpc_api.generated.claims.v1 import messages_pb2, service_pb2
from control_plane.grpc_api.generated.types.v1 import claim_pb2

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "control_plane" / "grpc_api" / "generated"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_what_is_checked_in_is_what_the_sources_give(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(tmp_path / "made")
    assert tree(tmp_path / "made") == tree(GENERATED), "run make proto"


CURRENT = "gitlab.cells.topology_service"
RULES = {
    f"{CURRENT}.CellService": {"GetCell": [1]},
    f"{CURRENT}.ClassifyService": {"GetCells": [1], "Classify": [2, 4, 5]},
    f"{CURRENT}.claims.v1.ClaimService": {
        "GetCells": [1],
        "GetRecord": [5],
        "BeginUpdate": [3, 5],
        "CommitUpdate": [3, 5],
        "RollbackUpdate": [3, 5],
        "ListLeases": [3, 5],
        "ListRecords": [3, 5],
    },
    f"{CURRENT}.SequenceService": {"GetCells": []},
    f"{CURRENT}.HealthService": {"ReadinessProbe": [], "LivenessProbe": []},
    f"{CURRENT}.ClaimService": {"GetCells": [], "CreateClaim": [], "GetClaim": []},
}


def rules(method: MethodDescriptor) -> list[int]:
    return list(method.GetOptions().Extensions[autz_pb2.access_control].authorization_rules)


def test_services_methods_and_their_rules_are_those_of_the_facts() -> None:
    modules = (
        cell_service_pb2,
        classify_service_pb2,
        service_pb2,
        sequence_service_pb2,
        health_service_pb2,
        claim_service_pb2,
    )
    found = {
        service.full_name: {method.name: rules(method) for method in service.methods}
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    assert found == RULES
    assert autz_pb2.access_control.number == 90000


def test_the_method_options_have_the_bytes_of_gitlab_s_descriptor() -> None:
    classify = classify_service_pb2.DESCRIPTOR.services_by_name["ClassifyService"].methods[1]
    assert b"\x82\xf9\x2b\x05\x0a\x03\x02\x04\x05" in classify.GetOptions().SerializeToString()
    http = classify.GetOptions().Extensions[annotations_pb2.http]
    assert (http.post, http.body) == ("/v1/classify", "*")


def test_claim_types_have_one_number_everywhere() -> None:
    claim = {f.number: f.name for f in claim_pb2.Claim.DESCRIPTOR.fields}
    types = {v.number: v.name for v in claim_pb2.ClaimType.DESCRIPTOR.values if v.number}
    buckets = {v.number for v in messages_pb2.Bucket.Type.DESCRIPTOR.values if v.number}
    assert {n: f"CLAIM_TYPE_{name.upper()}" for n, name in claim.items()} == types
    assert set(claim) == buckets == {*range(1, 19)} - {14}


@pytest.mark.parametrize(
    ("enum", "last", "number"),
    [
        (messages_pb2.Subject.Type, "USER", 4),
        (messages_pb2.Source.Type, "RAILS_TABLE_PROJECT_SETTINGS", 14),
        (messages_pb2.Record.Status, "LEASE_DESTROYING", 3),
        (claim_service_pb2.ParentRecord.ApplicationModel, "USER_NAMESPACE", 3),
        (classify_service_pb2.ClassifyType, "CELL_ID", 3),
        (classify_service_pb2.ClassifyAction, "PROXY", 1),
    ],
)
def test_enums_end_where_the_facts_end(enum: object, last: str, number: int) -> None:
    assert enum.Value(last) == number
    assert max(value.number for value in enum.DESCRIPTOR.values) == number
