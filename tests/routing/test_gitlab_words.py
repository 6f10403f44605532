"""GitLab's own words are no names: whoever claims them, no page of GitLab moves."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from control_plane.routing.admission.admit import Refused, admit
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, ClaimKey, Decision, Request
from control_plane.routing.route_table.reserved import reserve, takeovers
from control_plane.routing.route_table.table import NAME, read_routes
from control_plane.routing.rules.parse import parse
from tests.support import gitlab_pages
from tests.support.cells import FakeCell, cells

RULESET_FILE = gitlab_pages.ROOT / "rulesets" / "gitlab.json"
RULESET = parse(RULESET_FILE.read_text())
EVIL = FakeCell(3, accepts_new=False)
CELLS: Cells = cells(FakeCell(1), FakeCell(2), EVIL)
WORDS = frozenset(word.casefold() for word in gitlab_pages.words())


def decision(
    target: bytes, claimed: frozenset[str], *, host: bytes = b"gitlab.example"
) -> Decision:
    """Decide where a cell owns the ordinary name, and another one all of the claimed words."""

    def owners(keys: Sequence[ClaimKey]) -> list[int | None]:
        return [
            EVIL.id if value.casefold() in claimed else 2 if value.startswith(NAME) else None
            for _, value in keys
        ]

    request = admit("GET", target, host, [])
    assert not isinstance(request, Refused), target
    return decide(RULESET, request, CELLS, owners)


def test_no_page_moves_when_each_word_of_the_table_is_claimed() -> None:
    pages = gitlab_pages.pages()
    assert len(pages) > 400
    assert {"sign_in", "new", "auth", "remote-import", "sign_in.json"} <= WORDS
    moved = [
        target
        for page in pages
        for target in gitlab_pages.spellings(page)
        if decision(target, WORDS).outcome != decision(target, frozenset()).outcome
    ]
    assert moved == []


def test_a_words_owner_gets_no_page_at_all() -> None:
    """The evil cell takes no new traffic, so it gets a request only by a claim."""
    for page in gitlab_pages.pages():
        assert decision(page.encode(), WORDS).cell != EVIL.name, page


@pytest.mark.parametrize(
    "target",
    [
        b"/sign_in", b"/sign_in/project/-/issues", b"/groups/sign_in/-/issues", b"/o/sign_in/x",
        b"/api/v4/groups/sign_in", b"/api/v4/projects/user%2Fapp", b"/api/v4/projects/auth%2Fx",
        b"/groups/new.relic/-/issues", b"/users/activity", b"/users/Sign_In", b"/new/app",
    ],
)  # fmt: skip
def test_a_word_is_a_name_wherever_gitlab_has_no_page_of_it(target: bytes) -> None:
    names = WORDS | {"new.relic", "activity"}
    assert decision(target, frozenset(names)).cell == EVIL.name


def test_the_ruleset_is_what_the_table_derives() -> None:
    """If this fails: ``make literals``."""
    document = json.loads(RULESET_FILE.read_text())
    table = read_routes(gitlab_pages.TABLES[1].read_text())
    reserved = reserve(document, table)
    assert reserved.document == document
    assert set(reserved.routes) == set(table), "lines that reserve nothing"


def test_no_route_of_the_sample_has_a_word_that_a_rule_reads_as_a_name() -> None:
    assert list(takeovers(RULESET, gitlab_pages.routes())) == []


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/api/v4/group/acme/-/packages/composer/packages", "route:acme"),
        ("/api/v4/group/acme%2Fsub/-/packages/composer/p2/x", "route:acme"),
        ("/api/v4/group/42/-/packages/composer/packages.json", "namespace_id:42"),
        ("/api/v4/packages/terraform/modules/v1/acme/vpc/aws/1.0/download", "route:acme"),
        ("/api/v4/packages/maven/acme/app/1.0/app-1.0.jar", "route:acme"),
        ("/api/v4/packages/npm/@acme%2fui", "route:acme"),
        ("/api/v4/packages/npm/%40acme%2Fui", "route:acme"),
        ("/api/v4/packages/npm/@acme/ui", "route:acme"),
        ("/api/v4/packages/npm/-/package/@acme%2Fui/dist-tags", "route:acme"),
        ("/api/v4/packages/conan/v1/conans/zlib/1.3/acme+app/stable", "route:acme"),
        ("/api/v4/packages/conan/v1/files/zlib/1.3/acme%2Bapp/stable/0/export/x", "route:acme"),
        ("/api/v4/namespaces/acme/exists", "route:acme"),
        ("/api/v4/namespaces/42", "namespace_id:42"),
        ("/api/v4/security/groups/acme/vulnerability_exports", "route:acme"),
        ("/api/v4/security/projects/42/vulnerability_exports", "project_id:42"),
        ("/api/v4/feature_flags/unleash/42/client/features", "project_id:42"),
        ("/api/v4/internal/gitlab_subscriptions/namespaces/42/owners", "namespace_id:42"),
        ("/api/v4/internal/orbit/project/42/info", "project_id:42"),
        ("/api/v4/organizations/42", "organization_id:42"),
        ("/api/scim/v2/groups/acme/Users/1", "route:acme"),
        ("/explore/catalog/acme/component", "route:acme"),
        ("/-/ide/project/acme/app/edit/main/-/README.md", "route:acme"),
        ("/-/from_secondary/1/acme/app.git/info/refs", "route:acme"),
        ("/-/s/acme", "route:acme"),
        ("/-/p/42", "project_id:42"),
        ("/-/g/42", "namespace_id:42"),
        ("/projects/42", "project_id:42"),
        ("/jwt/auth?service=container_registry&scope=repository:acme/app:pull", "route:acme"),
        ("/jwt/auth?scope=repository%3Aacme%2Fapp%3Apull%2Cpush&offline=1", "route:acme"),
        ("/v2/acme/dependency_proxy/containers/alpine/manifests/latest", "route:acme"),
        ("/acme/app.git/info/lfs/objects/batch", "route:acme"),
        ("/acme/app.git/info/refs?service=git-upload-pack", "route:acme"),
    ],
)
def test_a_name_at_an_unusual_place_is_read(path: str, key: str) -> None:
    request = Request.of(path)
    made = decide(
        RULESET, request, CELLS, lambda keys: [2 if k == (*key.split(":"),) else None for k in keys]
    )
    assert (made.cell, made.key) == ("cell-2", key)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v4/packages/npm/ui", "/api/v4/packages/npm/-/npm/v1/security/audits/quick",
        "/api/v4/packages/conan/v1/ping", "/api/v4/packages/conan/v1/users/authenticate",
        "/jwt/auth?service=container_registry", "/jwt/auth?scope=registry:catalog:*",
        "/explore/catalog", "/explore/catalog/cells", "/projects/new", "/-/ide",
    ],
)  # fmt: skip
def test_where_there_is_no_name_none_is_read(path: str) -> None:
    keys: list[ClaimKey] = []

    def nobody(asked: tuple[ClaimKey, ...]) -> list[None]:
        keys.extend(asked)
        return [None] * len(asked)

    decide(RULESET, Request.of(path), CELLS, nobody)
    assert keys == []
