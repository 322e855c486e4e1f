"""What the doctor reads from metrics, and what a bundle for a helper does not hold."""

import tarfile
from pathlib import Path

import pytest
import yaml

from caxton_node.cli import symptom_signs as signs
from caxton_node.cli.bundle import redacted, write_bundle
from caxton_node.cli.symptoms import SYMPTOMS, guide_table, symptoms

ROOT = Path(__file__).parents[2]
NOW_S = 1_800_000_000.0
WELL = """
# HELP caxton_cluster_mode x
caxton_cluster_mode{mode="majority"} 1.0
caxton_cluster_mode{mode="minority"} 0.0
caxton_cluster_nodes{count="alive"} 3.0
caxton_cluster_nodes{count="expected"} 3.0
caxton_data_dir_bytes{count="free"} 50.0
caxton_data_dir_bytes{count="size"} 100.0
caxton_certificate_expiry_timestamp_seconds 1.9e+09
caxton_mailbox_fullest_ratio 0.1
caxton_queued_messages 3.0
caxton_unplaced_messages 0.0
caxton_ring_name_conflicts_total 0.0
caxton_event_loop_lag_seconds 0.001
caxton_messages_total{outcome="delivered"} 1000.0
caxton_messages_total{outcome="dead"} 1.0
caxton_message_duration_seconds_bucket{le="0.1"} 900.0
caxton_message_duration_seconds_bucket{le="1.0"} 1000.0
caxton_message_duration_seconds_bucket{le="+Inf"} 1001.0
caxton_message_duration_seconds_count 1001.0
caxton_model_errors_total 1.0
caxton_model_calls_total 99.0
caxton_store_backlog 0.0
caxton_trace_spans_total{outcome="failed"} 0.0
caxton_trace_spans_total{outcome="exported"} 7.0
caxton_etcd_state{state="degraded"} 0.0
caxton_http_requests_total{method="GET",route="/",status="200"} 50.0
caxton_http_requests_total{method="GET",route="/api/v1/agents/{name}",status="200"} 49.0
caxton_http_requests_total{method="GET",route="/api/v1/agents/{name}",status="500"} 1.0
"""


def wrong(text):
    return {one.check: one.text for one in symptoms(text, now_s=NOW_S) if not one.is_good}


def test_a_node_that_is_well_shows_nothing():
    assert wrong(WELL) == {}


def test_a_node_outside_of_any_cluster_shows_nothing():
    assert wrong("caxton_queued_messages 0.0\n") == {}


@pytest.mark.parametrize(
    ("before", "after", "alert", "text"),
    [
        ('"minority"} 0', '"minority"} 1', "CaxtonPartition", "minority side"),
        ('"alive"} 3', '"alive"} 2', "CaxtonNodeMissing", "2 of 3"),
        ('"free"} 50', '"free"} 10', "CaxtonDiskFull", "10%"),
        ("1.9e+09", "1800864000.0", "CaxtonCertificateEnds", "in 10 days"),
        ("1.9e+09", "1700000000.0", "CaxtonCertificateEnds", "has ended"),
        ("ratio 0.1", "ratio 1.0", "CaxtonMailboxFull", "100%"),
        ("messages 3.0", "messages 1001.0", "CaxtonQueueLong", "1,001"),
        ("backlog 0.0", "backlog 20000.0", "CaxtonStoreBehind", "20,000"),
        ("unplaced_messages 0", "unplaced_messages 7", "CaxtonMessagesUnplaced", "7 messages"),
        ("conflicts_total 0", "conflicts_total 1", "CaxtonNameConflict", "one name"),
        ("lag_seconds 0.001", "lag_seconds 0.5", "CaxtonEventLoopSlow", "500 ms"),
        ('"dead"} 1.0', '"dead"} 100.0', "CaxtonMessagesFail", "9% of the messages"),
        ('{le="1.0"} 1000', '{le="1.0"} 950', "CaxtonMessagesSlow", "5% of the messages"),
        ("errors_total 1.0", "errors_total 33.0", "CaxtonModelFails", "25% of the calls"),
        ('"500"} 1.0', '"500"} 33.0', "CaxtonHttpErrors", "25% of the requests"),
        ('"failed"} 0', '"failed"} 9', "CaxtonTracesLost", "9 spans"),
        ('"degraded"} 0', '"degraded"} 1', "CaxtonEtcdLost", "etcd"),
    ],
)
def test_each_symptom_is_told_under_the_name_of_its_alert(before, after, alert, text):
    found = wrong(WELL.replace(before, after))
    assert list(found) == [f"symptom.{alert}"]
    assert text in found[f"symptom.{alert}"]


def test_every_alert_is_a_symptom_that_the_doctor_knows():
    groups = yaml.safe_load((ROOT / "deploy/observability/rules.yaml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert alerts == {one.name for one in SYMPTOMS if not one.heading}
    assert all((one.sign is None) == bool(one.told_by) for one in SYMPTOMS)


def test_the_table_of_the_guide_is_that_of_the_doctor():
    guide = (ROOT / "docs" / "how-to" / "operate.md").read_text()
    assert guide_table() in guide, "run docs/generate.py"


def test_thresholds_are_those_of_the_alerts():
    groups = yaml.safe_load((ROOT / "deploy/observability/rules.yaml").read_text())["groups"]
    rules = {
        rule["alert"]: rule["expr"]
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    }
    for alert, limit in {
        "CaxtonDiskFull": f"< {signs.DISK_RATIO_MIN}\nand ignoring(count) "
        f'caxton_data_dir_bytes{{count="free"}} < {signs.DISK_FREE_BYTES_MIN / 1e9:.0f}e9',
        "CaxtonCertificateEnds": f"< {signs.CERTIFICATE_DAYS_MIN} * 86400",
        "CaxtonMailboxFull": f">= {signs.MAILBOX_RATIO_MAX}",
        "CaxtonStoreBehind": f"> {signs.BACKLOG_MAX}",
        "CaxtonQueueLong": f"> {signs.QUEUED_MAX}",
        "CaxtonEventLoopSlow": f"> {signs.LOOP_LAG_S_MAX}",
        "CaxtonMessagesFail": f"> {signs.FAILED_RATIO_MAX}",
        "CaxtonMessagesSlow": f"> {signs.SLOW_S:g}",
        "CaxtonHttpErrors": f"> {signs.HTTP_ERRORS_RATIO_MAX}",
        "CaxtonModelFails": f"> {signs.MODEL_ERRORS_RATIO_MAX}",
    }.items():
        assert rules[alert].strip().endswith(limit), alert


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----",
        "Authorization: Bearer eyJhbGciOi.J9",
        "sk-proj-abcdefgh12345678",
        "https://user:hunter2222@example.com/x",
        '{"password": "hunter2222"}',
    ],
)
def test_what_looks_like_a_secret_is_hidden(secret):
    kept = redacted(f"before {secret} after")
    assert "[hidden]" in kept
    for part in ("MC4CAQAw", "eyJhbGciOi.J9", "abcdefgh12345678", "hunter2222"):
        assert part not in kept


def test_a_bundle_is_readable_by_its_owner_alone_and_overwrites_nothing(tmp_path):
    path = tmp_path / "bundle.tar.gz"
    write_bundle(path, {"a.txt": "told"}, now_s=NOW_S)
    assert path.stat().st_mode & 0o077 == 0
    with tarfile.open(path) as archive:
        assert archive.extractfile("caxton-debug/a.txt").read() == b"told"
    with pytest.raises(FileExistsError):
        write_bundle(path, {}, now_s=NOW_S)
