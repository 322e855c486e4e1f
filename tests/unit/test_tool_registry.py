"""The registry finds tools, and says what was meant when it does not."""

import pytest

from caxton_node.domain.errors import Rejected
from caxton_node.tools.builtin.csv_parser import CsvParser
from caxton_node.tools.builtin.echo import Echo
from caxton_node.tools.registry import ToolRegistry

REGISTRY = ToolRegistry([Echo(), CsvParser()])


def test_names_are_in_order():
    assert REGISTRY.names == ("csv_parser", "echo")


def test_specs_come_in_the_order_they_are_asked_for():
    assert [spec.name for spec in REGISTRY.specs(["echo", "csv_parser"])] == ["echo", "csv_parser"]


def test_an_unknown_name_is_rejected_with_the_nearest():
    with pytest.raises(Rejected) as caught:
        REGISTRY.get("cvs-parser")
    assert caught.value.code == "tool_not_found"
    assert caught.value.hint == "Did you mean 'csv_parser'?"


def test_a_name_like_no_other_is_rejected_with_all_names():
    with pytest.raises(Rejected) as caught:
        REGISTRY.get("zzz")
    assert caught.value.hint == "There are: csv_parser, echo."


def test_two_tools_of_one_name_are_our_bug():
    with pytest.raises(AssertionError):
        ToolRegistry([Echo(), Echo()])


def test_a_good_tool_config_has_no_mistakes():
    config = {"delimiter": ";", "max_file_size": "10MB"}
    assert REGISTRY.config_mistakes("csv_parser", config) == ()


def test_a_wrong_tool_config_is_told_by_the_paths_within():
    config = {"delimeter": ";", "max_file_size": "big"}
    found = REGISTRY.config_mistakes("csv_parser", config)
    assert [(place.field, place.rule) for place in found] == [
        ("delimeter", "unknown_key"),
        ("max_file_size", "format"),
    ]


def test_a_tool_without_settings_takes_none():
    [place] = REGISTRY.config_mistakes("echo", {"x": 1})
    assert (place.field, place.rule) == ("x", "unknown_key")


def test_of_a_tool_that_does_not_exist_nothing_is_said():
    assert REGISTRY.config_mistakes("no", {"x": 1}) == ()
