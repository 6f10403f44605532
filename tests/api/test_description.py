"""The description is one that generators and linters take as it is.

The rules are those of spectral (``spectral:oas``), of redocly's recommended set, and of what
openapi-python-client drops without saying so.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.api.openapi import description

METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
READ_BY_GENERATORS = re.compile(r"application/(.+\+)?json|application/octet-stream|text/.+")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(description())
    return found


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def parts(value: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object of a document with its place."""
    if isinstance(value, dict):
        yield place, value
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, member in inner:
        if isinstance(member, dict | list):
            yield from parts(member, f"{place}/{name}")


def schemas(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object that is a schema: it has a type or refers to one."""
    for place, part in parts(document):
        if isinstance(part.get("type"), str | list) and "scheme" not in part:
            yield place, part


def test_the_whole_says_who_where_and_under_which_licence(document: dict[str, Any]) -> None:
    info = document["info"]
    assert document["openapi"].startswith("3.1.")
    assert info["license"]["identifier"] == "Apache-2.0"
    assert info["contact"]["name"]
    assert len(info["description"]) > 50
    assert document["servers"][0]["url"] == "/"


def test_a_bearer_token_is_optional_for_every_operation(document: dict[str, Any]) -> None:
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert document["security"] == [{}, {"bearer": []}]


def test_each_operation_has_a_name_a_text_and_a_declared_tag(
    document: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    assert len(operations) > 40
    tags = {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])
    ids = Counter(operation["operationId"] for operation in operations.values())
    assert ids.most_common(1)[0][1] == 1
    used = set()
    for label, operation in operations.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"]), label
        assert operation["summary"], label
        assert operation["description"].rstrip().endswith((".", "*")), label
        assert len(operation["tags"]) == 1, label
        used.update(operation["tags"])
    assert used == tags


def test_each_parameter_says_what_it_is(operations: dict[str, dict[str, Any]]) -> None:
    for label, operation in operations.items():
        parameters = operation.get("parameters", [])
        assert len({(one["in"], one["name"].lower()) for one in parameters}) == len(parameters)
        in_path = {one["name"] for one in parameters if one["in"] == "path"}
        assert in_path == set(re.findall(r"\{([^}]*)\}", label)), label
        for one in parameters:
            assert one["description"], (label, one["name"])
            assert one["in"] != "header" or one["name"].lower() not in {
                "accept",
                "content-type",
                "authorization",
            }, (label, "OpenAPI ignores this parameter")


def test_each_answer_has_a_schema_that_generators_read(
    operations: dict[str, dict[str, Any]],
) -> None:
    for label, operation in operations.items():
        answers = operation["responses"]
        assert any(status.startswith("2") for status in answers), label
        for status, answer in answers.items():
            assert answer["description"], (label, status)
            if status == "304":
                assert "content" not in answer
                continue
            content = answer["content"]
            assert any(map(READ_BY_GENERATORS.fullmatch, content)), (label, status)
            # A schema without a name is a class of its own for each operation.
            for media_type, one in content.items():
                is_json = media_type in {"application/json", "application/problem+json"}
                assert not is_json or "$ref" in one["schema"], (label, status)
        body = operation.get("requestBody")
        assert body is None or all(map(READ_BY_GENERATORS.fullmatch, body["content"])), label


def test_every_error_is_the_one_problem(
    document: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    problem = document["components"]["schemas"]["Problem"]
    assert {"type", "title", "status", "detail"} <= set(problem["required"])
    for label, operation in operations.items():
        for status in ("4XX", "5XX"):
            content = operation["responses"][status]["content"]
            schema = content["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, label


def test_every_reference_leads_somewhere_and_stands_alone(document: dict[str, Any]) -> None:
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = set()
    for place, part in parts(document):
        if "$ref" not in part:
            continue
        used.add(part["$ref"])
        # Generators drop what stands beside a reference; these three only tell people more.
        assert set(part) <= {"$ref", "description", "default", "title"}, place
    assert used == named, "each schema is used, and each that is used is there"


def test_schemas_say_what_lists_hold_and_objects_are(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description") or "enum" in schema, name
    for place, schema in schemas(document):
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert "array" not in kinds or "items" in schema, place
        assert "prefixItems" not in schema, place
        for name in schema.get("required", ()):
            assert name in schema["properties"], (place, name)
