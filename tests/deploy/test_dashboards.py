"""The dashboards: current, and asking only for what there is."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tests.deploy.promql import BOARDS, ROOT, faults, known, of_boards, read_yaml

QUERIES = {where: (expr, texts) for where, expr, texts in of_boards()}


def test_the_files_are_what_the_code_builds() -> None:
    script = ROOT / "deploy/grafana/dashboards.py"
    spec = importlib.util.spec_from_file_location("dashboards", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built = module.rendered()
    assert {path.name for path in BOARDS} == set(built)
    for path in BOARDS:
        assert path.read_text() == built[path.name], f"run python {script.relative_to(ROOT)}"


@pytest.mark.parametrize("where", QUERIES)
def test_a_query_names_only_metrics_and_labels_there_are(where: str) -> None:
    expr, texts = QUERIES[where]
    assert faults(expr, known(), texts) == []


@pytest.mark.parametrize(
    ("expr", "texts", "wrong"),
    [
        ("merkwacht_redy", "", "no metric merkwacht_redy"),
        ("merkwacht_polls", "", "no metric merkwacht_polls"),
        ('merkwacht_ready{brand="x"}', "", "merkwacht_ready has no label brand"),
        ("sum by (sauce) (merkwacht_source_dark)", "", "nothing in it has the label sauce"),
        ("merkwacht_ready", "{{brand}}", "nothing in it has the label brand"),
        (
            'merkwacht_polls_total{outcome=~"ok|tired"}',
            "",
            "merkwacht_polls_total never has outcome=tired",
        ),
        ("merkwacht_ready{instance='a'}", "", "cannot read {instance='a'}"),
        ("1 + 1", "", "no metric in it"),
    ],
)
def test_a_query_about_what_is_not_there_is_found(expr: str, texts: str, wrong: str) -> None:
    assert faults(expr, known(), texts) == [wrong]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_panels_are_explained_and_do_not_lie_on_each_other(path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        box = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(box["x"], box["x"] + box["w"])
            for y in range(box["y"], box["y"] + box["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_query_is_about_the_chosen_daemons_on_the_chosen_prometheus(path: Path) -> None:
    board = json.loads(path.read_text())
    variables = {each["name"] for each in board["templating"]["list"]}
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {
                "__rate_interval",
                "__range",
            }
            assert used <= variables, panel["title"]
            assert "instance" in used, panel["title"]
            assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_what_is_chosen_from_is_a_label_that_its_metric_has(path: Path) -> None:
    queries = [
        each["query"]
        for each in json.loads(path.read_text())["templating"]["list"]
        if each["type"] == "query"
    ]
    assert queries
    for query in queries:
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
        assert found is not None, query
        assert found[2] in known()[found[1]]


def test_every_metric_that_the_documentation_names_is_there() -> None:
    families = {re.sub(r"_(total|bucket|count|sum|info)$", "", name) for name in known()}
    for page in (ROOT / "docs").rglob("*.md"):
        named = re.findall(r"\b(merkwacht_[a-z_]+)(?:[{`(\[ ]|$)", page.read_text(), re.MULTILINE)
        others = {"merkwacht_townhall"} if page.name == "writing-a-connector.md" else set()
        assert set(named) - known().keys() - families - others == set(), page


def test_the_provisioning_files_fit_the_dashboards() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    sources = read_yaml(folder / "datasources/merkwacht.yaml")
    boards = read_yaml(folder / "dashboards/merkwacht.yaml")
    scrape = read_yaml(ROOT / "deploy/prometheus/prometheus.yml")
    assert sources["datasources"][0]["type"] == "prometheus"
    assert (
        sources["datasources"][0]["jsonData"]["timeInterval"] == scrape["global"]["scrape_interval"]
    )
    assert boards["providers"][0]["options"]["path"].endswith("/merkwacht")
