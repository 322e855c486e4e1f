"""What an author's code may raise while it is imported and built."""

import logging

import pytest

from caxton_node.domain.errors import Denied, Rejected
from caxton_node.runtime.python_agent import PythonAgent, load_handler


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a module that can be imported, and return the path of its class `Agent`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        return f"{name}:Agent"

    return write


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("agent_of_bad_syntax", "def (:", "SyntaxError: invalid syntax"),
        ("agent_of_a_key_error", "{}['colour']", "KeyError: 'colour'"),
        ("agent_that_exits", "raise SystemExit(3)", "SystemExit: 3"),
        ("agent_that_is_missing", "", "AttributeError: module"),
        ("agent_of_half_a_pair", "raise ValueError('\\ud800')", "ValueError: ?"),
        ("agent_with_a_bare_error", "raise RuntimeError", "RuntimeError"),
    ],
)
def test_an_import_that_raises_is_an_invalid_agent(written, name, source, told):
    path = written(name, source)
    with pytest.raises(Rejected) as caught:
        load_handler(path, ["*"])
    assert caught.value.code == "invalid_agent"
    assert f"{path!r}: {told}" in caught.value.detail


def test_an_error_without_a_text_that_can_be_shown_is_told_all_the_same(written):
    path = written(
        "agent_of_a_mute_error",
        "class Mute(Exception):\n    def __str__(self):\n        return None\nraise Mute\n",
    )
    with pytest.raises(Rejected, match="Mute: "):
        load_handler(path, ["*"])


def test_a_constructor_that_raises_is_an_invalid_agent(written):
    path = written(
        "agent_that_wants_a_colour",
        "class Agent:\n    def __init__(self, parameters):\n        parameters['colour']\n",
    )
    with pytest.raises(Rejected) as caught:
        PythonAgent(load_handler(path, ["*"]), {})
    assert caught.value.code == "invalid_agent"
    assert caught.value.detail == f"cannot build {path!r}: KeyError: 'colour'"


def test_a_class_that_is_not_allowed_is_not_imported(written):
    path = written("agent_nobody_allows", "raise ValueError")
    with pytest.raises(Denied):
        load_handler(path, ["another:*"])


class Answering:
    def handle(self, message, context):
        return "still here"


def test_after_a_crash_a_class_that_cannot_be_built_goes_on_as_it_was(caplog):
    handlers = [Answering()]
    agent = PythonAgent(lambda _: handlers.pop(), {})
    with caplog.at_level(logging.ERROR, logger="caxton.runtime"):
        agent.after_crash()
    assert agent.handle(None, None) == "still here"
    [record] = caplog.records
    assert record.name == "caxton.runtime"
    assert "pop from empty list" in record.exc_text
