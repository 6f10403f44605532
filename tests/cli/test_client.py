"""The client of the REST API: paths, pages, and problems as exit statuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_plane.cli.client import Client, Exit, Failure, resource
from control_plane.topology import Topology
from control_plane.topology.values.claim import ClaimSpec
from tests.cli.canned_api import client_of
from tests.cli.conftest import Rest

TAKEN = {
    "detail": "taken",
    "taken": [{"key": "route:a", "owner": "c1"}],
    "held": [{"key": "route:b", "lease": "L"}],
}
WRONG = {
    "detail": "wrong",
    "mend": "again",
    "errors": [{"rule": "r", "field": "f", "message": "m", "mend": "h"}],
}
ANSWERS = {
    "/v1/gateway": (502, b"<h1>Bad Gateway</h1>"),
    "/v1/list": (500, b"[]"),
    "/v1/late": (504, {"detail": "late", "nodes": ["n-1"]}),
    "/v1/held": (409, TAKEN),
    "/v1/wrong": (422, WRONG),
    "/v1/refused": (409, {"detail": "no", "code": "refused"}),
    "/v1/denied": (403, {"detail": "not you"}),
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a server that answers badly."""
    with client_of(ANSWERS) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "status", "lines"),
    [
        ("/v1/late", Exit.TIMED_OUT, ["late", "  not there yet: n-1"]),
        (
            "/v1/held",
            Exit.CONFLICT,
            ["taken", "  route:a belongs to c1", "  route:b is in lease L"],
        ),
        ("/v1/wrong", Exit.USAGE, ["wrong", "  r, f: m (h)", "  again"]),
        ("/v1/refused", Exit.REFUSED, ["no"]),
        ("/v1/denied", Exit.DENIED, ["not you"]),
    ],
)
def test_a_problem_is_told_in_lines_with_an_exit_status(
    client: Client, path: str, status: Exit, lines: list[str]
) -> None:
    with pytest.raises(Failure) as raised:
        client.get(path)
    assert raised.value.status is status
    assert str(raised.value).splitlines() == lines


@pytest.mark.parametrize(("path", "status"), [("/v1/gateway", 502), ("/v1/list", 500)])
def test_what_no_api_of_ours_answers_is_told_as_such(
    client: Client, path: str, status: int
) -> None:
    with pytest.raises(Failure) as raised:
        client.get(path)
    assert f"is not cellway's API: it answered {path} with {status}" in str(raised.value)


def test_a_name_with_any_characters_is_one_segment_of_a_path() -> None:
    assert (
        resource("claims", "route", "a/b?c#d e%ü") == "/v1/claims/route/a%2Fb%3Fc%23d%20e%25%C3%BC"
    )


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_a_path_would_swallow_is_no_name(name: str) -> None:
    with pytest.raises(Failure, match="can't be a name") as raised:
        resource("cells", name)
    assert raised.value.status is Exit.USAGE


def test_a_list_is_read_page_after_page_up_to_a_limit(
    rest: Rest, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [ClaimSpec("route", f"page-{number}", "cell-1") for number in range(5)]
    topology.claims.claim(specs, actor="test")
    monkeypatch.setattr("control_plane.cli.client.MAX_PAGE", 2)
    client = Client(rest.server, None)
    items, more = client.items("/v1/claims", 9, prefix="page-")
    assert [one["value"] for one in items] == [spec.value for spec in specs]
    assert not more
    for limit in (3, 4):
        items, more = client.items("/v1/claims", limit, prefix="page-")
        assert (len(items), more) == (limit, True)
    items, more = client.items("/v1/claims", 5, prefix="page-")
    assert (len(items), more) == (5, False), "these are all"
    client.close()
