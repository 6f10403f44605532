"""The page /docs needs no other host and no token, and may load and run nothing but its files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from control_plane.api import documentation
from tests.support.rest_server import serving

TOKEN = "a-configured-token"
VENDORED = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
"""The files of swagger-ui-dist 5.35.0, as they were published (docs/supply-chain.md)."""


class Page(HTMLParser):
    """What a page loads, and whether anything in it would run or style inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "href"} and value and tag != "a":
                self.loads.append(value)
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within in {"script", "style"} and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(tmp_path_factory.mktemp("docs"), token=TOKEN) as client:
        yield client


def test_the_page_loads_only_files_of_the_api_and_needs_no_token(api: httpx.Client) -> None:
    answer = api.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = Page(answer.text)
    assert page.inline == []
    loads = [one for one in page.loads if one != "data:,"]
    assert len(loads) == 3
    for one in loads:
        assert "//" not in one
        got = api.get(f"/{one}")
        assert (got.status_code, len(got.content) > 100) == (200, True), one
        assert got.headers["content-type"].startswith(("text/css", "text/javascript"))


def test_the_page_may_load_and_run_nothing_else(api: httpx.Client) -> None:
    policy = api.get("/docs").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("img-src") == "'self' data:"
    assert {"default-src", "script-src", "connect-src", "frame-ancestors"} <= rules.keys()
    assert set(rules.values()) <= {"'none'", "'self'"}


def test_the_page_s_own_script_asks_no_other_host(api: httpx.Client) -> None:
    script = api.get("/docs/start.js").text
    assert 'url: "openapi.json"' in script
    assert 'validatorUrl: "none"' in script
    assert "persistAuthorization: false" in script
    assert "//" not in re.sub(r"(?m)^//.*$", "", script)
    assert "@import" not in api.get("/docs/swagger-ui.css").text


@pytest.mark.parametrize("name", VENDORED)
def test_a_vendored_file_is_as_it_was_published(name: str) -> None:
    content = (Path(documentation.__file__).parent / "docs_page" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == VENDORED[name]


def test_the_licence_goes_with_the_files() -> None:
    folder = Path(documentation.__file__).parent / "docs_page"
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert "SmartBear" in (folder / "NOTICE").read_text()


def test_the_description_is_open_and_read_once(api: httpx.Client) -> None:
    answer = api.get("/openapi.json")
    assert answer.json()["info"]["title"] == "cellway"
    again = api.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/docs/LICENSE", "/docs/..%2Fapp.py", "/docs/%2e%2e/app.py", "/docs/no.js", "/redoc"]
)
def test_nothing_else_is_served_beside_the_page(api: httpx.Client, path: str) -> None:
    assert api.get(path).status_code in {401, 404}


def test_only_reading_the_page_is_open(api: httpx.Client) -> None:
    for path in ("/docs", "/docs/start.js", "/openapi.json"):
        assert api.head(path).status_code == 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert api.request(method, path).status_code == 401, (method, path)
    assert api.get("/v1/cells").status_code == 401
    assert api.get("/metrics").status_code == 401
