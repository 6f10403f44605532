"""The regexes of GitLab's ruleset, by what they look at, and paths as GitLab has them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from control_plane.routing.rules.parse import parse
from control_plane.routing.rules.regex import Regex
from control_plane.routing.rules.ruleset import Subject

_RULES = Path(__file__).parents[3] / "rulesets" / "gitlab.json"
PATHS = (
    b"/",
    b"/gitlab-org/gitlab",
    b"/gitlab-org/gitlab/-/merge_requests/12345/diffs",
    b"/some-user.json",
    b"/groups/gitlab-org/-/epics",
    b"/users/sign_in",
    b"/users/somebody/projects",
    b"/-/jira/gitlab-org/gitlab",
    b"/api/v4/projects/278964/merge_requests",
    b"/api/v4/projects/gitlab-org%2Fgitlab/issues",
    b"/api/v4/groups/gitlab-org%2Fsub/members",
    b"/api/v4/groups/9970.json",
    b"/api/graphql",
    b"/v2/gitlab-org/gitlab/manifests/latest",
    b"/v2/gitlab-org/dependency_proxy/containers/alpine/manifests/latest",
    b"/assets/webpack/main.chunk.js",
)


@cache
def gitlab_regexes() -> dict[Subject, tuple[Regex, ...]]:
    """Return the values' regexes; each once."""
    found: dict[Subject, dict[Regex, None]] = {}
    for rule in parse(_RULES.read_text()).rules:
        for match in rule.matches:
            if match.value is not None:
                found.setdefault(match.subject, {})[match.value] = None
    return {subject: tuple(regexes) for subject, regexes in found.items()}
