"""Reads ``transform`` and ``validate``: what a rule decodes, and what it must then have."""

from __future__ import annotations

from typing import Any

from control_plane.routing.rules.fields import (
    check_fields,
    read_objects,
    read_regex,
    read_template,
)
from control_plane.routing.rules.problems import Problems
from control_plane.routing.rules.ruleset import Transform, TransformKind

_FIELDS = ("type", "input", "output", "regexValue")
_KINDS = {
    "routable-token-payload": TransformKind.ROUTABLE_TOKEN_PAYLOAD,
    "base64-line-delimited": TransformKind.ROUTABLE_TOKEN_PAYLOAD,
    "routable-json": TransformKind.ROUTABLE_JSON,
    "base64-json": TransformKind.ROUTABLE_JSON,
    "decode-base64-match": TransformKind.DECODE_BASE64_MATCH,
}


def read_transforms(raw: Any, problems: Problems) -> tuple[Transform, ...]:
    """Return the transforms that can be read; what is wrong with the others is reported."""
    transforms: list[Transform] = []
    for item in read_objects(raw, "transform", problems):
        check_fields(item, _FIELDS, problems, "transform.")
        kind = _KINDS.get(str(item.get("type")))
        if kind is None:
            hint = f"use one of {', '.join(_KINDS)}"
            problems.add("transform.type", f"{item.get('type')!r} is no transform", hint)
            continue
        transform = _transform(kind, item, problems)
        if transform is not None:
            transforms.append(transform)
    return tuple(transforms)


def _transform(kind: TransformKind, item: dict[str, Any], problems: Problems) -> Transform | None:
    source = item.get("input")
    if isinstance(source, list):
        source = "".join(str(part) for part in source)
    template = read_template(source, "transform.input", problems)
    output = item.get("output")
    if not isinstance(output, str) or not output.isidentifier():
        problems.add("transform.output", "must be a name", 'write "decoded"')
        return None
    value = None
    if kind is TransformKind.DECODE_BASE64_MATCH:
        value = read_regex(item.get("regexValue"), "transform.regexValue", problems)
        if value is None:
            return None
    return None if template is None else Transform(kind, template, output, value)


def read_required(raw: Any, problems: Problems) -> tuple[str, ...]:
    """Return the names that ``validate.exist`` lists, with or without ``${…}`` around them."""
    if raw is None:
        return ()
    exist = raw.get("exist") if isinstance(raw, dict) else None
    if isinstance(exist, str):
        exist = [exist]
    if not isinstance(exist, list) or not all(isinstance(item, str) for item in exist):
        problems.add("validate.exist", "must be a list of names", 'write {"exist": ["decoded.c"]}')
        return ()
    return tuple(item[2:-1] if item.startswith("${") else item for item in exist)
