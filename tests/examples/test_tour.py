"""The tour notices a request that reaches another cell than it should."""

from __future__ import annotations

import httpx
from rich.console import Console

from control_plane.examples.tour import CLAIMS, Question, Tour, questions
from control_plane.names import CELL_HEADER


def tour(*, cell: str, routed: str, status: int = 200) -> Tour:
    """A tour of an edge that answers everything alike."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"cell": cell}, headers={CELL_HEADER: routed})

    edge = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://edge")
    return Tour(edge, edge, Console())


async def test_only_the_cell_that_owns_it_may_answer() -> None:
    question = Question("project page", "/acme/site", ("cell-1",))
    right = tour(cell="cell-1", routed="cell-1")
    assert (await right.ask(question))[-1] == "ok"
    assert right.wrong == []
    for wrong in (
        tour(cell="cell-2", routed="cell-2"),
        tour(cell="cell-1", routed="cell-2"),
        tour(cell="cell-1", routed="cell-1", status=503),
    ):
        assert (await wrong.ask(question))[-1] == "WRONG"
        assert len(wrong.wrong) == 1


async def test_any_cell_may_answer_what_belongs_to_none() -> None:
    anywhere = tour(cell="cell-2", routed="cell-2")
    row = await anywhere.ask(Question("anonymous", "/explore"))
    assert (row[2:4], row[-1]) == (("cell-2", "any"), "ok")


def test_every_wanted_cell_is_one_of_the_example() -> None:
    assert {cell for question in questions() for cell in question.cells} == set(CLAIMS)
