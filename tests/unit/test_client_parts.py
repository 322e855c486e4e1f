"""The parts of the Python client that need no server."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton import CaxtonClient, Tls
from caxton.endpoints import BACKOFF_FIRST_S, BACKOFF_MAX_S, Endpoints, parse_endpoint
from caxton.errors import CaxtonError, error_from_detail
from caxton.outgoing import outgoing
from caxton.v1 import errors_pb2
from caxton.wire import message
from caxton_node.domain.errors import ERRORS, error_from_code
from caxton_node.grpc_api.failures import detail_of

ROOT = Path(__file__).parents[2]


def test_the_client_loads_grpc_and_protobuf_and_no_other_package():
    program = (
        "import sys; before = set(sys.modules); import caxton, caxton.client, caxton.sync_client; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    ours = {"caxton", "grpc", "google", "typing_extensions"}
    loaded = {name for name in done.stdout.split() if name not in sys.stdlib_module_names}
    # Builds of protobuf register helper modules of their own under private names.
    others = {name for name in loaded if not name.startswith("_")} - ours
    # grpcio looks for these by itself, where they are installed.
    assert others <= {"cython_runtime", "grpc_health", "grpc_reflection", "grpc_tools"}


def test_whoever_wants_the_version_does_not_load_grpc():
    program = "import sys, caxton; print(caxton.__version__, 'grpc' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split()[1] == "False"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("localhost", "localhost:50051"),
        (" h:1 ", "h:1"),
        ("[::1]", "[::1]:50051"),
        ("[::1]:7", "[::1]:7"),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text, endpoint):
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize("text", ["", ":1", "h:0", "h:x", "h:65536", "::1", "http://h", "h:1/x"])
def test_what_is_no_endpoint_is_refused(text):
    with pytest.raises(ValueError, match=r"endpoint|port"):
        parse_endpoint(text)


def test_the_endpoint_that_answered_is_asked_again():
    endpoints = Endpoints(["a", "b", "c"])
    endpoints.answered("b:50051")
    assert endpoints.order(0.0) == ["b:50051", "c:50051", "a:50051"]


def test_an_endpoint_that_failed_comes_last_until_its_time_is_up():
    endpoints = Endpoints(["a", "b"])
    endpoints.failed("a:50051", 0.0)
    assert endpoints.order(0.1) == ["b:50051", "a:50051"]
    assert endpoints.order(BACKOFF_FIRST_S) == ["a:50051", "b:50051"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.floats(0, 100)), max_size=30))
def test_every_endpoint_is_always_among_those_to_try(history):
    endpoints, now_s = Endpoints(["a", "b", "c"]), 0.0
    for is_failure, name, step_s in history:
        now_s += step_s
        if is_failure:
            endpoints.failed(f"{name}:50051", now_s)
        else:
            endpoints.answered(f"{name}:50051")
        assert sorted(endpoints.order(now_s)) == sorted(endpoints.all)
    later = now_s + BACKOFF_MAX_S
    assert endpoints.order(later)[0] == endpoints.order(later + 1e6)[0]


@pytest.mark.parametrize("host", ["node.example", "127.evil.example", "localhost.evil.example"])
def test_a_token_does_not_travel_in_the_open(host):
    with pytest.raises(ValueError, match="TLS"):
        CaxtonClient(["localhost", host], token="secret")


def test_a_certificate_needs_its_key(tmp_path):
    with pytest.raises(ValueError, match="go together"):
        CaxtonClient("node.example", tls=Tls(certificate=tmp_path / "x"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
).filter(lambda value: "inf" not in repr(value))


@settings(deadline=None)
@given(JSON)
def test_content_comes_back_as_it_was(content):
    text = json.dumps(content, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    wire = outgoing({"receiver": "a", "content": content, "performative": "Query-Ref"})
    wire.created_at.FromDatetime(datetime.now(UTC))
    shown = message(wire)
    assert (shown.content, shown.performative) == (content, "query_ref")


@pytest.mark.parametrize(
    ("given_", "error"),
    [
        ({"performative": "sing"}, ValueError),
        ({"delivery": "twice"}, ValueError),
        ({"reply_by": datetime(2030, 1, 1)}, ValueError),  # noqa: DTZ001 - that is what is wrong
        ({"content": float("nan")}, ValueError),
        ({"content": object()}, TypeError),
        ({"recipient": "a"}, TypeError),
    ],
)
def test_a_message_that_cannot_be_is_refused_here(given_, error):
    with pytest.raises(error):
        outgoing({"receiver": "a", **given_})


def test_ids_are_made_anew_and_given_ones_kept():
    made = {outgoing({"receiver": "a"}).id for _ in range(100)}
    assert len(made) == 100
    assert outgoing({"receiver": "a", "message_id": "mine"}).id == "mine"


@pytest.mark.parametrize("code", sorted(ERRORS))
def test_every_code_of_the_server_is_an_error_of_a_class_that_fits(code):
    known = error_from_code(code, "what happened", facts={"a": 1})
    error = error_from_detail(detail_of(known, trace_id=""))
    assert isinstance(error, CaxtonError)
    assert (error.code, error.facts) == (code, {"a": 1})
    kinds = {
        "INVALID_ARGUMENT": "Rejected",
        "NOT_FOUND": "NotFound",
        "UNIMPLEMENTED": "NotFound",
        "FAILED_PRECONDITION": "Conflict",
        "ALREADY_EXISTS": "Conflict",
        "PERMISSION_DENIED": "Denied",
        "UNAUTHENTICATED": "Denied",
        "UNAVAILABLE": "Unavailable",
        "RESOURCE_EXHAUSTED": "Unavailable",
        "DEADLINE_EXCEEDED": "TimedOut",
    }
    expected = "Failed" if code == "budget_exhausted" else kinds.get(ERRORS[code].grpc_status)
    assert type(error).__name__ == (expected or "Failed")


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_facts_that_are_no_json_are_no_facts(facts):
    error = error_from_detail(errors_pb2.ErrorDetail(code="internal", detail="x", facts=facts))
    assert isinstance(error.facts, dict)
