"""Rules, dashboard and a Prometheus that scrapes three nodes: what is promised is really there."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from caxton_node.telemetry.names import METRICS
from tests.integration.test_phoenix import free_ports
from tests.integration.test_trace_across_nodes import SAMPLED, TRACE_ID, ask_from_node_3
from tests.otlp_receiver import otlp_receiver
from tests.three_nodes import NAMES, three_nodes

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"
RULES = FOLDER / "rules.yaml"
PROMTOOL = shutil.which("promtool")
PROMETHEUS = shutil.which("prometheus")
DEADLINE_S = 40.0

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)"
)
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None, reason="Prometheus is not installed (Debian: prometheus)"
)


def promtool(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        [PROMTOOL, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return json.loads((FOLDER / "dashboard.json").read_text())["panels"]


def expressions() -> Iterator[str]:
    """Yield every expression of the dashboard, with its variables filled in."""
    for panel in panels():
        for target in panel["targets"]:
            filled = target["expr"].replace("$__rate_interval", "1m")
            yield re.sub(r"\$(job|instance)", ".+", filled)


def named(expression: str) -> set[str]:
    """Return the metrics of ours that an expression names."""
    return set(re.findall(r"\bcaxton_[a-z_]+", expression))


def exported() -> set[str]:
    names = set()
    for metric in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names |= {f"{metric.name}{suffix}" for suffix in suffixes}
    return names


@needs_promtool
def test_prometheus_accepts_the_rules_and_their_tests_pass():
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(FOLDER / "rules_test.yaml"))


def test_every_alert_is_tested():
    tests = yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]
    fired = {
        one["alertname"]
        for test in tests
        for one in test.get("alert_rule_test", [])
        if one["exp_alerts"]
    }
    assert fired == {rule["alert"] for rule in rules() if "alert" in rule}


def test_rules_and_dashboard_name_only_metrics_that_a_node_exports():
    expected = exported()
    for expression in [*(rule["expr"] for rule in rules()), *expressions()]:
        recorded = set(re.findall(r"\bcaxton:[a-z0-9_:]+", expression))
        assert recorded <= {rule.get("record") for rule in rules()}, expression
        assert recorded or named(expression) or "up{" in expression, expression
        assert named(expression) <= expected, expression


def test_the_dashboard_shows_most_of_what_there_is():
    shown = set().union(*(named(expression) for expression in expressions()))
    bare = {name.removesuffix("_bucket") for name in shown}
    assert {metric.name for metric in METRICS if metric.kind == "histogram"} <= bare


def test_panels_have_ids_of_their_own():
    numbers = [panel["id"] for panel in panels()]
    assert len(numbers) == len(set(numbers))


@needs_promtool
def test_prometheus_can_read_every_expression_of_the_dashboard(tmp_path):
    records = [
        {"record": f"test:expression:{number}", "expr": expression}
        for number, expression in enumerate(expressions())
    ]
    path = tmp_path / "dashboard_rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", str(path))


@asynccontextmanager
async def prometheus(folder: Path, targets: list[str]):
    """Run Prometheus as configured in `deploy`, with these targets; yields its address."""
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_ports(1)[0]
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            await process.wait()


async def ask_prometheus(session, address: str, path: str, **parameters: str) -> Any:
    """Return what Prometheus answers, once it is more than nothing."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                async with session.get(f"{address}/api/v1/{path}", params=parameters) as response:
                    answer = (await response.json()).get("data")
                result = answer["result"] if isinstance(answer, dict) else answer
                if result:
                    return result
            except (aiohttp.ClientError, TypeError):
                pass
            await asyncio.sleep(0.2)


@needs_prometheus
@pytest.mark.timeout(120)
async def test_prometheus_scrapes_three_nodes_and_keeps_the_trace_of_a_slow_turn(tmp_path):
    with otlp_receiver() as receiver:
        telemetry = {
            "CAXTON_TELEMETRY__OTLP_ENDPOINT": receiver.grpc,
            "CAXTON_TELEMETRY__SAMPLE_RATIO": "0",
        }
        async with three_nodes(tmp_path, **telemetry) as cluster:
            targets = [node.url.removeprefix("http://") for node in cluster.nodes.values()]
            await ask_from_node_3(cluster, SAMPLED)
            async with prometheus(tmp_path, targets) as address:
                ask = cluster.session, address
                up = await ask_prometheus(*ask, "query", query='sum(up{job="caxton"}) == 3')
                assert up[0]["value"][1] == "3"
                nodes = await ask_prometheus(*ask, "query", query="caxton_node")
                assert {one["metric"]["node"] for one in nodes} == set(NAMES)
                turns = await ask_prometheus(
                    *ask, "query", query="sum(caxton_turn_duration_seconds_count)"
                )
                assert turns[0]["value"][1] == "1"
                found = await ask_prometheus(
                    *ask,
                    "query_exemplars",
                    query="caxton_turn_duration_seconds_bucket",
                    start="0",
                    end="99999999999",
                )
                traces = {
                    exemplar["labels"]["trace_id"]
                    for series in found
                    for exemplar in series["exemplars"]
                }
                assert traces == {TRACE_ID}
        assert receiver.of(TRACE_ID)


@needs_promtool
async def test_what_a_node_exports_is_well_formed(tmp_path):
    async with three_nodes(tmp_path) as cluster:
        text = await cluster.text("node-1", "/metrics")
    promtool("check", "metrics", stdin=text)
