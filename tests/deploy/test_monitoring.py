"""The alert rules and the dashboard ask only for metrics that the server counts."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from models.tasks import ENDPOINTS
from service.answers.contract import ModelName
from service.server.dialects import DIALECTS
from service.server.dialects.answering import Answering
from service.server.metrics import Metrics
from service.server.registry import ModelRegistry
from service.settings import Settings

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@pytest.fixture(scope="module")
def exported() -> set[str]:
    text = Metrics().render({}).decode()
    return {
        family.name + suffix
        for family in text_string_to_metric_families(text)
        if family.type in SUFFIXES
        for suffix in SUFFIXES[family.type]
    }


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return panels


def _expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in _rules())
    yield from (target["expr"] for panel in _panels() for target in panel["targets"])


def test_every_metric_that_is_asked_for_is_exported(exported: set[str]) -> None:
    asked = {name for expression in _expressions() for name in re.findall(r"\bsteadfast_\w+", expression)}
    assert asked <= exported
    # And the other way round: the dashboard shows all there is.
    families = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in exported}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} == families


@pytest.mark.parametrize("expression", [*_expressions()])
def test_every_expression_is_closed(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    assert '"' not in bare
    for opening, closing in ("()", "{}", "[]"):
        assert bare.count(opening) == bare.count(closing)
    assert "{{" not in bare


def test_labels_are_those_that_the_metrics_have() -> None:
    known = {"route", "code", "reason", "task", "model", "figure", "label", "le", "instance", "job"}
    known |= {"signal", "bin"}
    known |= set(ModelName.model_fields)
    for expression in _expressions():
        selected = re.findall(r"(\w+)\s*=~?", re.sub(r'"[^"]*"', "", expression.replace("==", "")))
        grouped = [name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")]
        assert {*selected, *grouped} <= known, expression


@pytest.mark.parametrize("expression", [one for one in _expressions() if "route=~" in one])
def test_what_counts_answers_counts_those_of_every_protocol_and_no_probes(expression: str) -> None:
    (wanted,), (unwanted,) = re.findall(r'route=~"([^"]*)"', expression), re.findall(r'route!~"([^"]*)"', expression)
    answering = Answering(ModelRegistry(Settings()), Metrics(), Settings())
    addresses = [address for build in DIALECTS for address in build(answering).addresses]
    asked = {f"/v1/{endpoint}" for endpoint in ENDPOINTS} | {one.path for one in addresses if one.method == "POST"}
    probes = {one.path for one in addresses if one.probe}
    counted = {path for path in asked | probes if re.fullmatch(wanted, path) and not re.fullmatch(unwanted, path)}
    assert counted == asked


def test_every_rule_says_what_is_wrong_and_how_bad_that_is() -> None:
    rules = _rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["annotations"]["summary"]


def _promtool(*words: str) -> str:
    """The output of promtool, which must find no fault."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_no_fault_in_the_rules() -> None:
    assert f"SUCCESS: {len(_rules())} rules found" in _promtool("check", "rules", str(MONITORING / "alerts.yaml"))


def test_promtool_finds_no_fault_in_the_configuration() -> None:
    assert "SUCCESS" in _promtool("check", "config", "--syntax-only", str(MONITORING / "prometheus.yaml"))


def test_the_alert_for_drift_fires_after_an_hour_and_not_before() -> None:
    assert "SUCCESS" in _promtool("test", "rules", str(Path(__file__).with_name("alerts_test.yaml")))


def test_the_job_is_called_as_the_rules_call_it() -> None:
    (job,) = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())["scrape_configs"]
    assert any(f'job="{job["job_name"]}"' in rule["expr"] for rule in _rules())
