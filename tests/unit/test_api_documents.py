"""The generated reference is what the code says now, and the OpenAPI document is one."""

import json
import re
from dataclasses import asdict

import pytest

from caxton_node.api.openapi import build_openapi, errors_of
from caxton_node.api.routes import ENDPOINTS
from caxton_node.domain.errors import ERRORS
from caxton_node.runtime.metadata import MetadataCounts
from caxton_node.telemetry.cluster_metrics import ClusterSnapshot, LinkSnapshot
from caxton_node.telemetry.counts import Counts
from caxton_node.telemetry.metrics import HttpMetrics, NodeSnapshot, expose
from caxton_node.telemetry.names import METRICS
from caxton_node.telemetry.ring_metrics import RingSnapshot
from tests.api_documents import documents

DOCUMENTS = documents()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_generated_document_is_current(path):
    assert path.read_text(encoding="utf-8") == DOCUMENTS[path], (
        "write it anew: python -m tests.api_documents"
    )


@pytest.fixture(scope="module")
def document():
    return build_openapi(ENDPOINTS, version="1.2.3")


def test_the_document_is_openapi_3_1(document):
    from jsonschema_rs import Draft202012Validator  # comes with schemathesis

    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        bundled = schema | {"components": document["components"]}
        Draft202012Validator(bundled)


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    for kind, name in set(re.findall(r'"#/components/(\w+)/([\w.-]+)"', text)):
        assert name in document["components"][kind]


def test_every_operation_has_a_name_of_its_own(document):
    names = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names)) == len(ENDPOINTS)


def test_every_error_of_an_endpoint_has_a_response(document):
    for endpoint in ENDPOINTS:
        responses = document["paths"][endpoint.path][endpoint.method.lower()]["responses"]
        for code in errors_of(endpoint):
            content = responses[str(ERRORS[code].http_status)]["content"]
            assert "application/problem+json" in content


LINK = LinkSnapshot(
    peer="n2",
    is_up=True,
    waiting_count=3,
    round_trip_s=0.002,
    sent_count=11,
    received_count=12,
    sent_again_count=4,
    break_count=1,
)
RING = RingSnapshot(
    members_by_state={"alive": 2, "suspect": 0, "dead": 1, "left": 0},
    local_health=1,
    probes_answered=7,
    probes_failed=1,
    suspicions=1,
    refutations=0,
    stalls=0,
    name_conflicts=0,
    bytes_by_way={("out", "stream"): 9},
    dropped_by_reason={"overload": 0, "malformed": 3, "foreign": 0},
    round_trip_bounds_s=(0.01, 0.1),
    round_trip_counts=(3, 2, 1),
    round_trip_sum_s=2.5,
)


def test_every_metric_of_the_table_is_exposed_and_no_other():
    http = HttpMetrics()
    http.observe("/health", "GET", 200, 0.003)
    snapshot = NodeSnapshot(
        node="n",
        version="1",
        uptime_s=1.5,
        counts=Counts(messages_accepted=7),
        agents_by_state={"running": 2},
        queued=3,
        unplaced=0,
        fullest_mailbox_ratio=0.5,
        turns_under_way=1,
        store_backlog=0,
        answers_awaited=0,
        loop_lag_s=0.001,
        resident_bytes=10,
        free_bytes=3,
        size_bytes=4,
        certificate_ends_at_s=1_800_000_000.0,
        spans={"exported": 1, "failed": 0, "dropped": 2},
        etcd_state="connected",
        etcd=asdict(MetadataCounts(calls=3)),
        ring=RING,
        cluster=ClusterSnapshot(
            mode="minority",
            alive_count=1,
            expected_count=3,
            agent_count=2,
            agents_taken=5,
            agents_left=4,
            failover_right="withheld",
            takeovers_granted=5,
            takeovers_refused=6,
            links=[LINK],
        ),
    )
    text = expose(snapshot, http)[0].decode()
    assert re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE) == [
        (metric.name, metric.kind) for metric in METRICS
    ]
    assert 'caxton_messages_total{outcome="accepted"} 7.0' in text
    assert 'caxton_ring_members{state="alive"} 2.0' in text
    assert 'caxton_ring_bytes_total{direction="out",transport="stream"} 9.0' in text
    assert 'caxton_ring_round_trip_seconds_bucket{le="0.1"} 5.0' in text
    assert "caxton_ring_round_trip_seconds_count 6.0" in text
    assert 'caxton_cluster_mode{mode="minority"} 1.0' in text
    assert 'caxton_cluster_mode{mode="majority"} 0.0' in text
    assert 'caxton_link_messages_total{direction="in",peer="n2"} 12.0' in text
    assert 'caxton_link_waiting_messages{peer="n2"} 3.0' in text
    assert 'caxton_cluster_agents_moved_total{direction="taken"} 5.0' in text
    assert 'caxton_failover_right{right="withheld"} 1.0' in text
    assert 'caxton_failover_permits_total{outcome="refused"} 6.0' in text
    assert 'caxton_etcd_state{state="connected"} 1.0' in text
    assert 'caxton_etcd_state{state="off"} 0.0' in text
    assert 'caxton_http_request_duration_seconds_bucket{le="0.005",route="/health"} 1.0' in text
    assert 'caxton_http_request_duration_seconds_count{route="/health"} 1.0' in text
