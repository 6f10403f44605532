"""Route tables: what is read, and which paths a route has."""

from __future__ import annotations

import json

import pytest

from control_plane.routing.route_table.table import (
    NAME,
    Route,
    RouteTableError,
    read_routes,
    sample_paths,
)


def test_gitlabs_own_file_and_lines_are_read_alike() -> None:
    rows = [{"template": "/users/:username", "acceptsFormat": True}, {"template": "/v2"}]
    lines = "template\texample\taccepts_format\n/users/:username\t/users/foo\tf\n/v2\t/v2\t-\n"
    assert read_routes(json.dumps(rows)) == read_routes(lines)
    assert read_routes("# a comment\n/v2\n/v2\n") == (Route("/v2"),)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no route"),
        ("template\n", "no route"),
        ("[", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"template": "/"}', "no list"),
        ('["/users"]', "route 1 has no template"),
        ('[{"template": 1}]', "route 1 has no template"),
        ("/" + "(/x)" * 9, "more than 8 optional parts"),
    ],
)
def test_what_is_no_route_table(text: str, why: str) -> None:
    with pytest.raises(RouteTableError, match=why):
        read_routes(text)


@pytest.mark.parametrize(
    ("template", "paths"),
    [
        ("/users/:username/activity", ["/users/~/activity"]),
        ("(/-/jira)/*namespace_id/:id", ["/-/jira/~/~", "/~/~"]),
        ("/a(/:b(/:c))", ["/a/~/~", "/a/~", "/a"]),
        ("/skills/:name/?*path", ["/skills/~/~"]),
        (r"/v2/Packages\(Id=':id'\)", ["/v2/Packages(Id='~')"]),
        ("/archive/*id.:format", ["/archive/~.~"]),
        ("/", ["/"]),
    ],
)
def test_the_paths_of_a_template(template: str, paths: list[str]) -> None:
    found = [path.text.replace(NAME, "~") for path in sample_paths(Route(template), [NAME])]
    assert sorted(found) == sorted(paths)


def test_a_path_knows_which_of_its_characters_are_the_templates_own() -> None:
    for path in sample_paths(Route("/o/:path(/*rest)/new", takes_format=True), [NAME, "x/y"]):
        own = "".join(char for char, its in zip(path.text, path.own, strict=True) if its)
        assert own in {"/o//new", "/o//new.json", "/o///new", "/o///new.json"}
        assert path.has_format == path.text.endswith(".json")
