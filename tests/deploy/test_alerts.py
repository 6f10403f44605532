"""Alerts against what is really exported, and each with its runbook."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from control_plane.edge_agent.metrics import AgentMetrics, MapMetrics
from tests.support.plane import add_cell, asking, plane_with, route_all, samples

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus-alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
SCRAPE_LABELS = frozenset({"instance", "job"})
"""What Prometheus itself adds to every series."""
_SELECTOR = re.compile(r"\b(cellway_[a-z_]+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
ids = [alert["alert"] for alert in ALERTS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """Labels of each series of a control plane that has done a little of everything, and an agent."""

    async def scrape() -> dict[str, list[dict[str, str]]]:
        async with plane_with(tmp_path_factory.mktemp("p"), classifier_workers=1) as (
            plane,
            client,
        ):
            add_cell(plane.topology)
            plane.topology.sequences.allot("cell-1", 100, actor="test")
            route_all(plane.topology)
            labels_of: dict[str, list[dict[str, str]]] = {}
            async with asking(plane) as classifier:
                await classifier.get("/x")
            for name, labels in await samples(client):
                labels_of.setdefault(name, []).append(dict(labels))
            agent = AgentMetrics()
            MapMetrics(agent.registry)
            for family in agent.registry.collect():
                for sample in family.samples:
                    labels_of.setdefault(sample.name, []).append(sample.labels)
            return labels_of

    return asyncio.run(scrape())


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    for name, matchers in _SELECTOR.findall(expression):
        yield name, _MATCHER.findall(matchers)


@pytest.mark.parametrize("alert", ALERTS, ids=ids)
def test_every_alert_watches_series_that_are_exported(
    alert: dict[str, Any], exported: dict[str, list[dict[str, str]]]
) -> None:
    used = list(selectors(alert["expr"]))
    assert used, "it watches nothing of ours"
    labels: set[str] = set()
    for name, matchers in used:
        assert name in exported, f"{name} is not exported"
        for label, operator, value in matchers:
            assert operator == "=", "checked here: equality only"
            assert value in {series.get(label) for series in exported[name]}, (name, label, value)
        labels |= set().union(*exported[name])
    for group in _GROUPING.findall(alert["expr"]):
        for label in group.split(","):
            assert label.strip() in labels | SCRAPE_LABELS, label
    for label in re.findall(r"\$labels\.([a-z_]+)", str(alert["annotations"])):
        assert label in labels, label


@pytest.mark.parametrize("alert", ALERTS, ids=ids)
def test_every_expression_is_balanced_and_compares(alert: dict[str, Any]) -> None:
    expression = re.sub(r'"[^"]*"', "", alert["expr"])
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    assert re.search(r"(==|>|<)", expression) or expression.startswith("absent(")


@pytest.mark.parametrize("alert", ALERTS, ids=ids)
def test_every_alert_has_a_severity_a_summary_and_a_runbook_that_names_it(
    alert: dict[str, Any],
) -> None:
    assert alert["labels"]["severity"] in {"page", "warn"}
    assert alert["annotations"]["summary"]
    page = ROOT / alert["annotations"]["runbook"]
    assert page.parent == RUNBOOKS
    text = page.read_text()
    assert f"`{alert['alert']}`" in text
    for heading in ("**Meaning.**", "**What users notice.**", "## Check", "## Act"):
        assert heading in text


def test_every_runbook_belongs_to_an_alert() -> None:
    named = {Path(alert["annotations"]["runbook"]).name for alert in ALERTS}
    assert {page.name for page in RUNBOOKS.glob("*.md")} == named | {"README.md"}


def test_alerts_have_names_of_their_own() -> None:
    assert len(set(ids)) == len(ids)


def test_labels_of_metrics_can_not_be_chosen_by_strangers(
    exported: dict[str, list[dict[str, str]]],
) -> None:
    names = {label for series in exported.values() for labels in series for label in labels}
    allowed = {"state", "type", "tier", "outcome", "rule", "bucket", "cell", "query", "le"}
    assert names <= allowed | {
        "cache",
        "from",
        "task",
        "why",
        "answered",
        "kind",
        "reason",
        "holds",
        "port",
    }


def functions(path: Path) -> dict[str, str]:
    """Return the source of each function of a module, by its name."""
    source = path.read_text()
    return {
        node.name: ast.get_source_segment(source, node) or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_alert_was_walked_by_a_test_that_sees_it_and_follows_its_runbook() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| .+ \| `(\w+\.py)::(\w+)` \|$",
        (RUNBOOKS / "README.md").read_text(),
        re.MULTILINE,
    )
    assert {alert for alert, _, _ in rows} == set(ids)
    pages = {alert["alert"]: Path(alert["annotations"]["runbook"]).stem for alert in ALERTS}
    for alert, file, test in rows:
        body = functions(Path(__file__).parent / file)[test]
        assert f'"{alert}"' in body, (alert, test)
        assert f'"{pages[alert]}"' in body, (alert, test)
