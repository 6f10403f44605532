"""An example cell says who it is, and what exactly it was asked."""

from __future__ import annotations

import httpx

from control_plane.examples.cell import cell_app


async def test_a_cell_repeats_the_request() -> None:
    transport = httpx.ASGITransport(cell_app("cell-7"))
    async with httpx.AsyncClient(transport=transport, base_url="http://cell") as client:
        headers = [(b"X-A", "é".encode("latin-1"))]
        response = await client.post("/a%2Fb?c=%20&d", content=b"12345", headers=headers)
    answer = response.json()
    assert response.headers["x-example-cell"] == "cell-7"
    assert (answer["cell"], answer["method"], answer["body_bytes"]) == ("cell-7", "POST", 5)
    assert answer["path"] == "/a%2Fb?c=%20&d"
    assert ["x-a", "é"] in answer["headers"]
