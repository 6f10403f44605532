"""The evaluator and the real Envoy decide alike on GitLab's routes, with everything varied."""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.edge_module.build import build
from control_plane.routing.admission.admit import Refused
from control_plane.routing.model import Status
from control_plane.routing.tokens import encode_routable_token, to_base36
from tests.support.edge_map import map_answers, map_in_step
from tests.support.raw_client import RawClient
from tests.support.system import System

ROUTES = Path(__file__).parents[1] / "data" / "gitlab_routes.tsv"
CLAIMS = {
    "cell-1": ("route:foo", "username:foo", "organization_path:foo", "project_id:42"),
    "cell-2": ("route:john.doe", "route:bar", "namespace_id:42", "organization_id:9"),
    "cell-3": ("username:john.doe", "redirect_route:old", "organization_path:john.doe", "route:ü"),
}
Header = tuple[str, bytes]


def _token(cell: int, prefix: str = "glpat-") -> bytes:
    return encode_routable_token(prefix, {"c": cell, "u": 5}, bytes(range(16))).encode()


def _jwt(**claims: str) -> bytes:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    return b"glcbt-eyJhbGciOiJub25lIn0." + payload + b".c2ln"


def _basic(user: bytes, password: bytes) -> bytes:
    return b"Basic " + base64.b64encode(user + b":" + password)


def _variations() -> list[list[Header]]:
    organization = encode_routable_token("glpat-", {"o": 9}, bytes(16)).encode()
    return [
        [],
        [("cookie", b"_gitlab_session=cell-2-0f1e")],
        [("cookie", b"a=b; _gitlab_session_0af=cell-3-0f1e; _gitlab_session=cell-1-aa")],
        [("cookie", b"_gitlab_session=cell-99-aa; _gitlab_session_1=cell-1-bb")],
        [("cookie", b"_gitlab_session=nonsense"), ("cookie", b" force-cell = cell-3 ")],
        [("cookie", b"force-cell=cell-77; _gitlab_session=cell-2-a")],
        [("cookie", b'x_gitlab_session=cell-2-a;y="_gitlab_session=cell-1-"')],
        [("private-token", _token(2))],
        [("PRIVATE-TOKEN", _token(88))],
        [("private-token", _token(3)[:-1] + b"!")],
        [("private-token", organization)],
        [("authorization", b"Bearer " + _token(3))],
        [("authorization", b"bearer   " + _token(1))],
        [("authorization", _basic(b"oauth2", _token(2)))],
        [("authorization", _basic(_token(3), b""))],
        [("authorization", _basic(b"gitlab-ci-token", _jwt(c=to_base36(3))))],
        [("job-token", _jwt(c=to_base36(2), u="1"))],
        [("job-token", _jwt(o=to_base36(9)))],
        [("job-token", _jwt(c="!"))],
        [("runner-token", _token(1, "glrt-"))],
        [("private-token", _token(2, "acme-glpat-"))],
        [("private-token", _token(3, "acme:"))],
        [("authorization", _basic(b"oauth2", _token(2, "acme:")))],
        [("authorization", b"Bearer acme-" + _jwt(c=to_base36(3)))],
        [("private-token", _token(1)), ("private-token", _token(2))],
        [("x-cellway-cell", b"cell-3"), ("X-Cellway-Rule", b"evil")],
        [("cookie", b"_gitlab_session=cell-2-\xff\xfe; \xc3\xbc=1")],
        [("x-envoy-auth-failure-mode-allowed", b"true")],
    ]


def _paths() -> Iterator[bytes]:
    rows = [line.split("\t") for line in ROUTES.read_text().splitlines()[1:]]
    for _, example, dotted, suffix in rows:
        yield example.encode()
        if dotted != "-":
            yield dotted.encode()
        if suffix == "f":
            yield f"{example}.json".encode()
            if dotted != "-":
                yield f"{dotted}.json".encode()


EXTRA_PATHS = (
    b"/", b"/foo", b"/FOO/bar", b"/foo.json", b"/john.doe", b"/john.doe.json", b"/old/x",
    b"/api/v4/projects/42", b"/api/v4/projects/42/issues?x=/foo", b"/api/v4/groups/42",
    b"/api/v4/projects/42.json", b"/api/v4/groups/foo.json", b"/api/v4/projects/foo%2Fbar",
    b"/api/v4/projects/foo%2fbar%2Fbaz/issues", b"/api/v4/groups/john.doe%2Fx", b"/api/graphql",
    b"/api/v4/jobs/request", b"/groups/foo", b"/groups/bar.json", b"/users/foo.json",
    b"/o/foo/projects", b"/o/new", b"/o/john.doe", b"/-/jira/bar/x", b"/v2/bar/dependency_proxy/x",
    b"/admin", b"/admin.json", b"/%61dmin", b"/..;/foo", b"/%2e%2e;/foo", b"/%66oo/bar", b"/foo%2Fbar", b"/search?q=/foo",
    b"/-/x?private_token=" + _token(2), b"/-/x?a=1&job_token=" + _jwt(c="3"),
    b"/-/x?private_token=" + _token(2, "acme:").replace(b":", b"%3A"),
    b"/-/x?private_token=" + _token(2, "acme+"), b"/jwt/auth?scope=repository%3Afoo%2Fx%3Apull",
    b"/jwt/auth?a&scope=repository:bar/x:pull", b"/jwt/auth?scope=x", b"/projects/42", b"/-/g/42",
    b"/api/v4/group/foo%2Fx/-/packages/composer/p/1", b"/api/v4/group/42/-/packages/composer/p/1",
    b"/api/v4/packages/terraform/modules/v1/bar/a/b", b"/api/v4/packages/npm/@foo%2fx",
    b"/api/v4/packages/conan/v1/conans/a/1/foo+x/stable", b"/api/v4/organizations/9",
    b"/api/v4/namespaces/storage/limit_exclusions", b"/explore/catalog/foo/x", b"/users/foo.x.json",
    b"/-/ide/project/foo/x/edit", b"/users/sign_in", b"/users/sign_in.json", b"/groups/new/x",
    b"/%C3%BC/x", b"/%c3%bC", b"/\xc3\xbc/x", b"/nobody", b"/foo?", b"/foo?a=b?c=d", b"/?x=1",
)  # fmt: skip

CONFUSING = (
    b"//foo", b"/foo//bar", b"///", b"/a/../foo/x", b"/a/./b", b"/./foo", b"/foo/..", b"/foo/../..",
    b"/../foo", b"/%2e%2e/foo", b"/a/%2E%2e/foo/", b"/.%2e/foo", b"/foo/%2e", b"/a%2Fb", b"/a%252Fb",
    b"/foo%5Cbar", b"/foo\\bar", b"\\foo", b"/a\\..\\foo", b"/foo;param", b"/foo;/x", b"/;/foo/x",
    b"/foo#frag", b"/foo?x#y", b"/foo%00", b"/foo%00bar", b"/%c0%ae%c0%ae/foo", b"/\xc0\xae/foo",
    b"/foo\xff", b"/foo/", b"/foo.", b"/foo./x", b"/e%CC%81", b"/%C3%A9", b"/%7Efoo", b"/~foo",
    b"/foo%20bar", b"/foo%", b"/foo%2", b"/foo%zz", b"/foo/%2e%2e%2fbar", b"/foo|bar", b"/foo^",
    b"/foo\"bar", b"/<foo>", b"/foo`", b"/{foo}", b"/[foo]", b"/foo'bar", b"/@foo", b"/foo:bar",
    b"/foo,bar", b"/foo+bar", b"/foo=bar", b"/foo&bar", b"/foo!bar", b"/$foo", b"/*", b"*",
    b"http://gitlab.example.com/foo/x", b"https://other.example/foo", b"foo", b"",
    b"/" + b"a" * 8000, b"/foo/" + b"b" * 30000, b"/foo/" + b"../" * 50 + b"bar", b"/....//foo",
    b"/.../foo", b"/..foo", b"/foo/...", b"/foo/.hidden", b"/%2E", b"/%2e%2E%2e/foo", b"/%41dmin",
    b"/%2D/x", b"/%6A%6f%68n.doe", b"/a/b/../../foo", b"/a/b/../..", b"/a//../foo", b"//../foo",
)  # fmt: skip


def _prepare(system: System) -> None:
    system.add_cells()
    for cell, keys in CLAIMS.items():
        system.claim(cell, *keys)
    system.use_ruleset("gitlab")


@pytest.fixture(scope="module", params=["without the map", "with the map"])
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    module = build() if request.param == "with the map" else None
    directory = tmp_path_factory.mktemp("differential")
    with System(directory, module=module, classifier_workers=1) as running:
        _prepare(running)
        if module is not None:
            map_in_step(running)
        yield running
        answers = sum(map_answers(running).values())
        assert bool(answers) is (running.module is not None), "the map has answered"


def _check(
    system: System,
    client: RawClient,
    target: bytes,
    headers: list[Header],
    *,
    host: bytes = b"gitlab.example.com",
    method: str = "GET",
) -> str | None:
    """Return how Envoy and the evaluator differ about a request; None if they agree."""
    status, answered, body = client.ask(target, headers, host=host, method=method)
    wanted = system.expected(method, target, host, [(n.lower(), v) for n, v in headers])
    cell = answered.get("x-example-cell")
    if isinstance(wanted, Refused):
        same = cell is None and status in {0, wanted.status}
    elif isinstance(wanted.outcome, Status):
        same = cell is None and status == wanted.outcome.code
    else:
        same = cell is not None and wanted.allows(cell)
        same = same and answered.get("x-cellway-rule") == wanted.rule
    if same:
        return None
    return f"{method} {target!r} {headers} {host!r}: {status} {cell} {body[:120]!r}, not {wanted}"


def _report(differences: list[str | None]) -> None:
    real = [text for text in differences if text is not None]
    assert not real, f"{len(real)} of {len(differences)}:\n" + "\n".join(real[:25])


@pytest.mark.slow
def test_every_gitlab_route_is_decided_alike_with_every_kind_of_credential(system: System) -> None:
    choose = random.Random(7)
    variations = _variations()
    with RawClient(system.edge_port) as client:
        differences = []
        for path in itertools.chain(_paths(), EXTRA_PATHS):
            for headers in [[], *choose.sample(variations, 5)]:
                differences.append(_check(system, client, path, headers))
        for path, headers in itertools.product((b"/foo/x", b"/-/x", b"/explore"), variations):
            differences.append(_check(system, client, path, headers))
    assert len(differences) > 3000
    _report(differences)


def test_confusing_paths_are_decided_alike(system: System) -> None:
    session = [("cookie", b"_gitlab_session=cell-2-a")]
    with RawClient(system.edge_port) as client:
        _report(
            [
                _check(system, client, path, headers)
                for path in CONFUSING
                for headers in ([], session)
            ]
        )


@pytest.mark.parametrize(
    "host",
    [b"gitlab.example.com:8443", b"GITLAB.example.com", b"gitlab.example.com.", b"[::1]:80",
     b"xn--bcher-kva.example", b"127.0.0.1", b"b\xc3\xbccher.example"],
)  # fmt: skip
def test_hosts_change_nothing_for_gitlab(system: System, host: bytes) -> None:
    with RawClient(system.edge_port) as client:
        _report([_check(system, client, b"/foo/x", [], host=host)])


@pytest.mark.parametrize(
    "method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]
)
def test_methods_are_decided_alike(system: System, method: str) -> None:
    headers = [("content-length", b"0")] if method not in {"HEAD", "OPTIONS"} else []
    with RawClient(system.edge_port) as client:
        if method == "HEAD":
            status, answered, _ = client.ask(b"/foo/x", method=method)
            assert (status, answered["x-example-cell"]) == (200, "cell-1")
            return
        _report([_check(system, client, b"/foo/x", headers, method=method)])


@pytest.mark.slow
def test_random_paths_and_headers_are_decided_alike(system: System) -> None:
    choose = random.Random(11)
    pieces = [b"foo", b"bar", b"john.doe", b"%66oo", b"..", b".", b"%2e", b"-", b"api", b"v4", b"",
              b"projects", b"42", b"%2F", b"a%2Fb", b"groups", b"users", b"o", b";x", b"%", b"?", b"&",
              b"\\", b"x.json", b".git", b"~", b"%C3%BC", b"\xc3\xbc", b"admin"]  # fmt: skip
    variations = _variations()
    with RawClient(system.edge_port) as client:
        differences = []
        for _ in range(1500):
            path = b"/" + b"/".join(choose.choices(pieces, k=choose.randint(1, 5)))
            headers = list(itertools.chain(*choose.sample(variations, choose.randint(0, 2))))
            differences.append(_check(system, client, path, headers))
    _report(differences)


@pytest.mark.parametrize(
    "fleet", [{"classifier_protocol": "grpc"}, {"delta": False}], ids=["grpc", "sotw"]
)
def test_grpc_and_state_of_the_world_decide_the_same(tmp_path: Path, fleet: dict[str, Any]) -> None:
    choose = random.Random(13)
    variations = _variations()
    paths = choose.sample(sorted({*_paths()}), 200) + list(EXTRA_PATHS)
    with System(tmp_path, **fleet) as system, RawClient(system.edge_port) as client:
        _prepare(system)
        differences = [
            _check(system, client, path, headers)
            for path in paths
            for headers in ([], choose.choice(variations))
        ]
        differences += [_check(system, client, path, []) for path in CONFUSING]
        for path, headers in itertools.product((b"/foo/x", b"/-/x"), variations):
            differences.append(_check(system, client, path, headers))
        _report(differences)
        asked = system.stats(r"cluster\.cellway_classifier\.upstream_rq_total").values()
        assert any(asked), "the classifier was asked"
        failed = system.stats(r"http\.edge\.ext_authz\.classifier\.(error|denied)").values()
        assert not any(failed), "the classifier answered each time"
