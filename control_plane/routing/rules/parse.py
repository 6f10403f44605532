"""Reads ruleset JSON (GitLab's HTTP Router format plus cellway's policies) into a `Ruleset`."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from control_plane.names import BUCKET, MAX_DOCUMENT_BYTES
from control_plane.routing.rules.digest import rules_digest
from control_plane.routing.rules.policies import read_policies
from control_plane.routing.rules.problems import Problem, Problems, RulesetError
from control_plane.routing.rules.regex import Regex, RegexError
from control_plane.routing.rules.ruleset import (
    Classify,
    ClassifyType,
    Match,
    Proxy,
    Rule,
    Ruleset,
    Subject,
    Template,
    Transform,
    TransformKind,
)

__all__ = ["Problem", "RulesetError", "parse"]

MAX_RULES = 1000
MAX_PARTS = 32
"""Matches, transforms or claims of one rule."""

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\}")
_ADDRESS = re.compile(r"[A-Za-z0-9.\[\]:_-]{1,260}\Z")
_LITERAL_NAMES = re.compile(
    r"\^(?:\(\?i\))?(?:([A-Za-z0-9_-]+)|\(\?:([A-Za-z0-9_-]+(?:\|[A-Za-z0-9_-]+)*)\))\$\Z"
)
_RULE_FIELDS = (
    "id", "match", "transform", "validate", "action", "classify", "proxy", "description",
    "on_unknown", "on_classifier_down", "on_cell_down", "on_invalid",
)  # fmt: skip
_SPELLINGS = {"regex_name": "name", "regex_value": "regexValue"}
_TRANSFORMS = {
    "routable-token-payload": TransformKind.ROUTABLE_TOKEN_PAYLOAD,
    "base64-line-delimited": TransformKind.ROUTABLE_TOKEN_PAYLOAD,
    "routable-json": TransformKind.ROUTABLE_JSON,
    "base64-json": TransformKind.ROUTABLE_JSON,
    "decode-base64-match": TransformKind.DECODE_BASE64_MATCH,
}


@dataclass(frozen=True, slots=True)
class _Duplicate(Exception):
    key: str


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise _Duplicate(key)
        seen[key] = value
    return seen


def load(document: str | bytes | dict[str, Any] | list[Any]) -> dict[str, Any]:
    """Read the JSON text; a bare list of rules is an unnamed ruleset.

    Raises:
        RulesetError: too large, not JSON, a key twice, or not an object or list.
    """
    if isinstance(document, str | bytes):
        if len(document) > MAX_DOCUMENT_BYTES:
            hint = f"keep it under {MAX_DOCUMENT_BYTES} bytes"
            raise RulesetError((Problem(None, "", "the document is too large", hint),))
        try:
            document = json.loads(document, object_pairs_hook=_no_duplicates)
        except _Duplicate as error:
            message = f"the key {error.key!r} stands twice in one object"
            raise RulesetError((Problem(None, error.key, message, "keep one"),)) from error
        except (ValueError, RecursionError) as error:
            message = f"not JSON: {error}"
            raise RulesetError((Problem(None, "", message, "mend the JSON"),)) from error
    if isinstance(document, list):
        document = {"rules": document}
    if not isinstance(document, dict):
        raise RulesetError(
            (Problem(None, "", "a ruleset is an object with rules", 'write {"rules": […]}'),)
        )
    return document


def parse(document: str | bytes | dict[str, Any] | list[Any]) -> Ruleset:
    """Parse a ruleset.

    Raises:
        RulesetError: with every problem found, each naming rule, field and hint.
    """
    raw = load(document)
    problems = Problems()
    _check_fields(raw, ("name", "description", "defaults", "rules", "version"), problems)
    rules = raw.get("rules")
    if not isinstance(rules, list) or not rules:
        problems.add("rules", "there are no rules", "give a list with at least one rule")
        rules = []
    if len(rules) > MAX_RULES:
        problems.add("rules", f"more than {MAX_RULES} rules", "split the ruleset")
        rules = []
    defaults = raw.get("defaults", {})
    parsed: list[Rule] = []
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        one = _rule(rule, index, defaults, seen, problems)
        if one is not None:
            parsed.append(one)
    problems.raise_if_any()
    description = str(raw.get("description", ""))
    return Ruleset(str(raw.get("name", "unnamed")), tuple(parsed), description, rules_digest(raw))


def _check_fields(
    raw: dict[str, Any], known: Iterable[str], problems: Problems, at: str = ""
) -> None:
    known = tuple(known)
    for field in raw:
        if field not in known:
            near = difflib.get_close_matches(field, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(known)}"
            problems.add(f"{at}{field}", "unknown field", hint)


def _rule(raw: Any, index: int, defaults: Any, seen: set[str], problems: Problems) -> Rule | None:
    if not isinstance(raw, dict):
        problems.add(f"rules[{index}]", "a rule is an object", "write {…}")
        return None
    rule_id = raw.get("id")
    if not isinstance(rule_id, str) or not _ID.match(rule_id):
        problems.add(
            f"rules[{index}].id", "missing or malformed", "1 to 64 of letters, digits, _ . -"
        )
        rule_id = f"rules[{index}]"
    elif rule_id in seen:
        problems.add(
            f"rules[{index}].id", f"{rule_id!r} is used twice", "give each rule its own id"
        )
    seen.add(rule_id)
    with problems.within(rule_id):
        _check_fields(raw, _RULE_FIELDS, problems)
        matches = _matches(raw.get("match"), problems)
        transforms = _transforms(raw.get("transform"), problems)
        required = _validate(raw.get("validate"), problems)
        action = _action(raw, problems)
        policies, stated = read_policies(raw, defaults, problems)
    if action is None:
        return None
    return Rule(rule_id, matches, transforms, required, action, policies, stated)


def _as_list(raw: Any, field: str, problems: Problems) -> list[dict[str, Any]]:
    if raw is None:
        return []
    items = raw if isinstance(raw, list) else [raw]
    if len(items) > MAX_PARTS:
        problems.add(field, f"more than {MAX_PARTS}", "split the rule")
        return []
    good: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, dict):
            good.append({_SPELLINGS.get(str(key), str(key)): value for key, value in item.items()})
        else:
            problems.add(field, "must be an object or a list of objects", "write {…}")
    return good


def _regex(raw: Any, field: str, problems: Problems, *, fold: bool = False) -> Regex | None:
    if not isinstance(raw, str):
        problems.add(field, "must be a regular expression in a string", 'write "^…$"')
        return None
    try:
        return Regex(raw, case_sensitive=not fold)
    except RegexError as error:
        problems.add(field, f"RE2 refuses {raw!r}: {error}", "use RE2 syntax (no lookaround)")
        return None


def _matches(raw: Any, problems: Problems) -> tuple[Match, ...]:
    matches: list[Match] = []
    for item in _as_list(raw, "match", problems):
        _check_fields(item, ("type", "name", "regexValue", "invert"), problems, "match.")
        kind = item.get("type")
        if kind not in set(Subject):
            known = ", ".join(Subject)
            problems.add("match.type", f"{kind!r} is no kind of match", f"use one of {known}")
            continue
        match = _match(Subject(kind), item, problems)
        if match is not None:
            matches.append(match)
    return tuple(matches)


def _match(subject: Subject, item: dict[str, Any], problems: Problems) -> Match | None:
    named = subject in {Subject.HEADER, Subject.COOKIE}
    if named != ("name" in item):
        hint = "give name a regex" if named else "leave name out"
        problems.add("match.name", f"a {subject} match has {'a' if named else 'no'} name", hint)
        return None
    if not named and "regexValue" not in item:
        problems.add("match.regexValue", f"a {subject} match needs it", "give regexValue a regex")
        return None
    if not isinstance(item.get("invert", False), bool):
        problems.add("match.invert", "must be true or false", "write true or false")
        return None
    name = None
    if named:
        name = _regex(item["name"], "match.name", problems, fold=subject is Subject.HEADER)
    value = None
    if "regexValue" in item:
        fold = subject is Subject.HOST
        value = _regex(item["regexValue"], "match.regexValue", problems, fold=fold)
    literal = _LITERAL_NAMES.match(name.pattern) if name and subject is Subject.HEADER else None
    return Match(
        subject,
        name,
        value,
        bool(item.get("invert", False)),
        tuple((literal[1] or literal[2]).lower().split("|")) if literal else (),
    )


def _template(raw: Any, field: str, problems: Problems) -> Template | None:
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    if not isinstance(raw, str) or not raw:
        problems.add(field, "must be a text, with ${…} for captures", 'write "${name}"')
        return None
    parts: list[tuple[bool, str]] = []
    at = 0
    for found in _REFERENCE.finditer(raw):
        if found.start() > at:
            parts.append((False, raw[at : found.start()]))
        parts.append((True, found[1]))
        at = found.end()
    if at < len(raw):
        parts.append((False, raw[at:]))
    if any("${" in text for is_reference, text in parts if not is_reference):
        problems.add(field, f"{raw!r} has a malformed ${{…}}", "write ${name} or ${output.key}")
        return None
    return Template(raw, tuple(parts))


def _transforms(raw: Any, problems: Problems) -> tuple[Transform, ...]:
    transforms: list[Transform] = []
    for item in _as_list(raw, "transform", problems):
        _check_fields(item, ("type", "input", "output", "regexValue"), problems, "transform.")
        kind = _TRANSFORMS.get(str(item.get("type")))
        if kind is None:
            hint = f"use one of {', '.join(_TRANSFORMS)}"
            problems.add("transform.type", f"{item.get('type')!r} is no transform", hint)
            continue
        source = item.get("input")
        if isinstance(source, list):
            source = "".join(str(part) for part in source)
        template = _template(source, "transform.input", problems)
        output = item.get("output")
        if not isinstance(output, str) or not output.isidentifier():
            problems.add("transform.output", "must be a name", 'write "decoded"')
            continue
        value = None
        if kind is TransformKind.DECODE_BASE64_MATCH:
            value = _regex(item.get("regexValue"), "transform.regexValue", problems)
            if value is None:
                continue
        if template is not None:
            transforms.append(Transform(kind, template, output, value))
    return tuple(transforms)


def _validate(raw: Any, problems: Problems) -> tuple[str, ...]:
    if raw is None:
        return ()
    exist = raw.get("exist") if isinstance(raw, dict) else None
    if isinstance(exist, str):
        exist = [exist]
    if not isinstance(exist, list) or not all(isinstance(item, str) for item in exist):
        problems.add("validate.exist", "must be a list of names", 'write {"exist": ["decoded.c"]}')
        return ()
    return tuple(item[2:-1] if item.startswith("${") else item for item in exist)


def _action(raw: dict[str, Any], problems: Problems) -> Classify | Proxy | None:
    action = raw.get("action")
    if action == "classify":
        return _classify(raw.get("classify"), problems)
    if action == "proxy":
        return _proxy(raw.get("proxy"), problems)
    problems.add("action", f"{action!r} is no action", "use classify or proxy")
    return None


def _classify(raw: Any, problems: Problems) -> Classify | None:
    if not isinstance(raw, dict):
        problems.add("classify", "missing", 'write {"type": …, "value": …} or {"claims": […]}')
        return None
    _check_fields(raw, ("type", "value", "claims", "claim", "bucket"), problems, "classify.")
    if "claims" in raw or "claim" in raw:
        return _claims(raw.get("claims", raw.get("claim")), problems)
    kind = raw.get("type")
    if kind not in set(ClassifyType):
        known = ", ".join(ClassifyType)
        problems.add("classify.type", f"{kind!r} is no way to classify", f"use one of {known}")
        return None
    if kind == ClassifyType.FIRST_CELL:
        return Classify(ClassifyType.FIRST_CELL)
    if kind == ClassifyType.CLAIM:
        return _claims([{str(raw.get("bucket")): raw.get("value")}], problems)
    value = _template(raw.get("value"), "classify.value", problems)
    return Classify(ClassifyType(kind), value) if value else None


def _claims(raw: Any, problems: Problems) -> Classify | None:
    chain: list[tuple[str, Template]] = []
    items = raw if isinstance(raw, list) else [raw]
    if not items or len(items) > MAX_PARTS:
        problems.add("classify.claims", f"needs 1 to {MAX_PARTS} claims", "name at least one claim")
        return None
    for item in items:
        if not isinstance(item, dict) or len(item) != 1:
            hint = 'write {"route": "${route}"}'
            problems.add("classify.claims", "each claim is an object with one key", hint)
            continue
        ((bucket, value),) = item.items()
        bucket = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), bucket)
        if not BUCKET.match(bucket):
            hint = "use a bucket such as route or username"
            problems.add("classify.claims", f"{bucket!r} is no bucket", hint)
            continue
        template = _template(value, f"classify.claims.{bucket}", problems)
        if template is not None:
            chain.append((bucket, template))
    return Classify(ClassifyType.CLAIM, None, tuple(chain)) if chain else None


def _proxy(raw: Any, problems: Problems) -> Proxy | None:
    if raw is None:
        return Proxy()
    if not isinstance(raw, dict) or len(raw) > 1:
        hint = 'write {"cell": …}, {"address": …} or {"weighted": …}'
        problems.add("proxy", "must name one of cell, address, weighted", hint)
        return None
    _check_fields(raw, ("cell", "address", "weighted"), problems, "proxy.")
    for field in ("cell", "address"):
        if field in raw:
            value = raw[field]
            if not isinstance(value, str) or not _ADDRESS.match(value):
                hint = "a fixed name or host[:port]; no ${…}, path or scheme"
                problems.add(f"proxy.{field}", f"{value!r} is not valid", hint)
                return None
            return Proxy(cell=value) if field == "cell" else Proxy(address=value)
    policies, _ = read_policies({"on_unknown": raw or {"weighted": True}}, {}, problems)
    weights = getattr(policies.on_unknown, "weights", None)
    return Proxy(weights=weights)
