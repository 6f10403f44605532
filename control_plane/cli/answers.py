"""Reads what a server answers: documents of the API, problems, and what is neither.

At the other end there may be another program, another version of cellway, or a proxy. What such an
answer lacks is told in a line that names the server, wherever a command looks for it.
"""

from __future__ import annotations

import json
from typing import Any, Never

import httpx

from control_plane.cli.api_words import in_words_of_commands
from control_plane.cli.failure import Exit, Failure

_BY_STATUS = {
    400: Exit.USAGE,
    401: Exit.DENIED,
    403: Exit.DENIED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    422: Exit.USAGE,
    428: Exit.CONFLICT,
    504: Exit.TIMED_OUT,
}
_BY_CODE = {
    "refused": Exit.REFUSED,
    "fleet-refused": Exit.REFUSED,
    "not-published": Exit.REFUSED,
    "invalid-ruleset": Exit.ERROR,
}
"""The exit statuses of some codes, which count more than those of their HTTP statuses."""
MAX_SHOWN = 20
"""How many of the things that are wrong are shown; the API lists up to 100."""
_PROBLEM = "application/problem+json"


class Document(dict[str, Any]):
    """A JSON object of an answer. A field that it lacks is a failure of the command."""

    def __missing__(self, name: str) -> Never:
        text = f"the server's answer has no {name!r}: is it another version of cellway?"
        raise Failure(f"{text} Compare --server (CELLWAY_SERVER) with what cellway serve says")


def document_of(response: httpx.Response) -> Any:
    """Return the JSON document of an answer; its objects are `Document`.

    Raises:
        Failure: it is no answer of the API.
    """
    try:
        document = json.loads(response.content, object_hook=Document)
    except (ValueError, RecursionError):
        raise not_ours(response) from None
    if not isinstance(document, dict) or not _is_list_of_objects(document.get("items", [])):
        raise not_ours(response)
    return document


def _is_list_of_objects(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(one, dict) for one in items)


def not_ours(response: httpx.Response) -> Failure:
    """Return the failure for an answer that no API of ours gives."""
    request = response.request
    server = f"{request.url.scheme}://{request.url.netloc.decode('ascii', 'replace')}"
    kind = response.headers.get("content-type", "no content type").partition(";")[0]
    if response.has_redirect_location:
        to = _printable(response.headers["location"])
        says = f"it sends {request.url.path} to {to}"
    else:
        says = f"it answered {request.url.path} with {response.status_code} and {_printable(kind)}"
    hint = "give the API's address as --server (CELLWAY_SERVER)"
    return Failure(f"{server} is not cellway's API: {says}; {hint}")


def failure_of(response: httpx.Response) -> Failure:
    """Return a problem (RFC 9457) as a failure, one line for each thing that is wrong."""
    problem = _problem(response)
    if problem is None:
        return not_ours(response)
    lines = [str(problem.get("detail") or f"HTTP {response.status_code}")]
    for error in _objects(problem, "errors"):
        where = ", ".join(str(error[key]) for key in ("rule", "field") if error.get(key))
        hint = f" ({error['mend']})" if error.get("mend") else ""
        line = f"{where}: {error['message']}{hint}"
        lines += [f"  {line}"] if line != lines[0] else []
    lines += [f"  {one['key']} belongs to {one['owner']}" for one in _objects(problem, "taken")]
    lines += [f"  {one['key']} is in lease {one['lease']}" for one in _objects(problem, "held")]
    refusals = _objects(problem, "refused")
    late = [node for node in problem.get("nodes", []) if node not in {n["node"] for n in refusals}]
    lines += [f"  not there yet: {node}" for node in late]
    lines += [f"  {one['node']} refuses it: {one['error']}" for one in refusals]
    if len(lines) > MAX_SHOWN:
        lines[MAX_SHOWN:] = [f"  … and {len(lines) - MAX_SHOWN} more"]
    if problem.get("mend"):
        lines.append(f"  {problem['mend']}")
    status = _BY_STATUS.get(response.status_code, Exit.ERROR)
    text = in_words_of_commands("\n".join(lines))
    if response.status_code == httpx.codes.UNAUTHORIZED and "CELLWAY_TOKEN" not in text:
        text += "; set CELLWAY_TOKEN (or --token)"
    return Failure(text, _BY_CODE.get(str(problem.get("code")), status))


def _objects(problem: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = problem.get(name, [])
    return found if _is_list_of_objects(found) else []


def _problem(response: httpx.Response) -> dict[str, Any] | None:
    """Return the problem document of an answer; None where something else has answered."""
    if not response.headers.get("content-type", "").startswith(_PROBLEM):
        return None
    try:
        document = json.loads(response.content, object_hook=Document)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _printable(text: str) -> str:
    """Return a foreign text in a bounded length, without control characters."""
    return "".join(one if one.isprintable() else "?" for one in text[:100])
