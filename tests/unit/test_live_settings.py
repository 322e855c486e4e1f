"""Settings that may change while a node runs."""

import pytest

from caxton_node.config import load_settings
from caxton_node.config.live import CLUSTER_WIDE, LiveSettings, read_cluster_wide
from caxton_node.domain.errors import NotFound, Rejected


def loaded(tmp_path, **flags):
    keys = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(flags=keys, environment={}, working_dir=tmp_path, home=tmp_path)


def test_the_cluster_overrules_a_node_for_as_long_as_it_says_something(tmp_path):
    live = LiveSettings(loaded(tmp_path, log__level="debug"))
    sources = live.sources
    live.tell({"log.level": "error", "limits.retention": 3600.0})
    assert (live.settings.log.level, live.settings.limits.retention_s) == ("error", 3600.0)
    assert sources["log.level"] == ("error", "cluster")
    assert sources["limits.retention"] == ("1h", "cluster")
    live.tell({})
    assert live.settings.log.level == "debug"
    assert sources["log.level"] == ("debug", "flag")


def test_a_reload_changes_a_nodes_own_values_under_those_of_the_cluster(tmp_path):
    live = LiveSettings(loaded(tmp_path))
    live.tell({"log.level": "error"})
    live.reload(loaded(tmp_path, log__level="debug", retry__attempts=9, node__name="other"))
    assert live.settings.log.level == "error"
    assert live.settings.retry.attempts == 9
    assert live.settings.node.name == "node-1", "that waits for a restart"
    assert live.sources["retry.attempts"] == (9, "flag")
    live.tell({})
    assert live.settings.log.level == "debug"


def test_watchers_are_told_of_changes_only(tmp_path):
    live = LiveSettings(loaded(tmp_path))
    levels = []
    live.on_change(lambda settings: levels.append(settings.log.level))
    live.tell({"log.level": "error"})
    live.tell({"log.level": "error"})
    live.tell({})
    live.reload(loaded(tmp_path))
    assert levels == ["error", "info"]


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("log.level", "WARN", "warning"),
        ("retry.attempts", "7", 7),
        ("retry.attempts", 7, 7),
        ("retry.factor", "1.5", 1.5),
        ("limits.retention", "1h", 3600.0),
    ],
)
def test_a_value_is_read_as_from_a_file_or_from_a_person(key, value, read):
    assert read_cluster_wide(key, value) == read


@pytest.mark.parametrize("value", ["", "many", 0, 1000, None, [], {}, 1.5])
def test_a_value_that_cannot_be_is_refused_with_its_field(value):
    with pytest.raises(Rejected) as caught:
        read_cluster_wide("retry.attempts", value)
    assert caught.value.places[0].field == "retry.attempts"


@pytest.mark.parametrize("key", ["node.name", "etcd.password", "llm.api_key", "", "log"])
def test_what_a_whole_cluster_cannot_be_told_is_not_found(key):
    with pytest.raises(NotFound):
        read_cluster_wide(key, "x")


def test_nothing_that_is_secret_can_be_told_a_whole_cluster():
    assert not [key for key, setting in CLUSTER_WIDE.items() if setting.is_secret]
