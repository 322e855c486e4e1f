import pytest

from caxton_node.cli.node_options import FLAGS
from caxton_node.cli.node_settings import (
    config_document,
    is_loopback,
    load,
    reachable_url,
    refuse_exposure,
)
from caxton_node.domain.errors import Rejected


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Settings as flags have them, away from whatever this machine has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda **flags: load(dict.fromkeys(FLAGS) | {f"--{k}": v for k, v in flags.items()})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_an_address_of_this_machine_alone_is_harmless(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "myhost", "localhost.evil.com"])
def test_any_other_address_can_be_reached(host):
    assert not is_loopback(host)


def test_a_node_that_can_be_reached_is_refused_with_where_that_was_set(loaded):
    with pytest.raises(Rejected, match=r"0\.0\.0\.0:80 \(flag\)") as caught:
        refuse_exposure(loaded(http="0.0.0.0:80"), is_insecure=False)
    assert "--insecure" in caught.value.hint


def test_whoever_insists_is_let(loaded):
    refuse_exposure(loaded(http="0.0.0.0:80"), is_insecure=True)


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:81", "http://127.0.0.1:81"),
        ("[::]:82", "http://[::1]:82"),
        ("localhost:83", "http://localhost:83"),
    ],
)
def test_a_node_is_reached_where_it_listens(loaded, bind, url):
    assert reachable_url(loaded(http=bind)) == url


def test_settings_are_shown_with_where_they_came_from(loaded):
    items = config_document(loaded(name="n7"))["items"]
    assert items["node.name"] == {"value": "n7", "source": "flag"}
    assert items["log.level"] == {"value": "info", "source": "default"}
