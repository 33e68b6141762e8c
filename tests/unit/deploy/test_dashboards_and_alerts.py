"""Dashboard and alerts speak of metrics there are, with labels those have."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_manager.adapters.prometheus.definitions import METRICS as OF_MANAGER
from management_api.metrics import METRICS as OF_API
from tests.harness.promql import selections

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "agent-manager.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
SCRAPES = DEPLOY / "prometheus" / "prometheus.yml"

FROM_PROMETHEUS = {"job", "instance"}
"""Labels every series is given when it is scraped."""
NOT_OURS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
"""Made by Prometheus itself, and by the client library of every process."""


def known() -> dict[str, set[str]]:
    """The labels of every series there is."""
    labels = {name: {*FROM_PROMETHEUS} for name in NOT_OURS}
    for metric in (*OF_MANAGER, *OF_API):
        for series in metric.series:
            bucket = {"le"} if series.endswith("_bucket") else set()
            labels[series] = {*FROM_PROMETHEUS, *metric.labels, *bucket}
    return labels


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return document


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_asks_for_what_there_is(where: str, expression: str) -> None:
    there = known()
    asked = selections(expression)
    assert asked
    for selection in asked:
        assert selection.metric in there, f"{where}: no program exports {selection.metric}"
        assert selection.labels <= there[selection.metric], f"{where}: {selection.metric} has no such labels"


def test_an_expression_that_asks_for_something_else_would_be_found() -> None:
    (selection,) = selections('sum by (colour) (rate(agent_manager_restarts_total{size="big"}[$__rate_interval]))')
    assert selection.metric == "agent_manager_restarts_total"
    assert selection.labels == {"colour", "size"}


def test_every_metric_is_shown_or_watched() -> None:
    asked = {selection.metric for _, expression in expressions() for selection in selections(expression)}
    unseen = {metric.name for metric in (*OF_MANAGER, *OF_API) if not metric.series & asked}
    assert unseen == set()


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description", "action"}, rule["alert"]
        assert all(rule["annotations"].values()), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)


def test_every_panel_reads_from_the_chosen_data_source() -> None:
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert variables == {"datasource", "instance", "model"}
    for panel in panels():
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in everything:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_jobs_are_named_as_the_alerts_and_panels_expect() -> None:
    document = yaml.safe_load(SCRAPES.read_text(encoding="utf-8"))
    assert {job["job_name"] for job in document["scrape_configs"]} == {"agent-manager", "management-api"}
    assert document["rule_files"] == [ALERTS.name]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: package prometheus)")
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=SCRAPES.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    tests = (ALERTS.parent / "alerts_test.yml").read_text(encoding="utf-8")
    assert [rule["alert"] for rule in rules() if f'alertname="{rule["alert"]}"' not in tests] == []
