"""What the settings say of the ring, and which of it is refused."""

import base64

import pytest

from caxton_cluster import fast
from caxton_node.cli.node_options import FLAGS
from caxton_node.cli.node_settings import load, refuse_exposure
from caxton_node.domain.errors import Rejected
from caxton_node.ring import membership
from caxton_node.ring_place import announced_address, gossip_address

KEYS = tuple(bytes([number]) * 32 for number in range(2))
KEY_TEXTS = [base64.b64encode(key).decode() for key in KEYS]


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Settings as flags and a file have them, away from whatever this machine has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def settle(file="", **flags):
        (tmp_path / "caxton.toml").write_text(file)
        return load(dict.fromkeys(FLAGS) | {f"--{name}": value for name, value in flags.items()})

    return settle


def place_of(loaded):
    return gossip_address(loaded.settings.cluster)


def mistakes(loaded, file):
    with pytest.raises(Rejected) as caught:
        loaded(file)
    return str(caught.value)


def test_a_plain_node_is_in_no_ring(loaded):
    assert place_of(loaded()) is None
    assert membership(loaded().settings) is None


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        ({"peers": "seed.example:7946"}, ("127.0.0.1", 7946)),
        ({"gossip": "127.0.0.1:0"}, ("127.0.0.1", 0)),
        ({"gossip": "[::1]:7000"}, ("::1", 7000)),
    ],
)
def test_a_node_that_is_asked_to_is_in_a_ring(loaded, flags, place):
    assert place_of(loaded(**flags)) == place


def test_a_ring_can_be_asked_for_by_its_own_key_and_denied_by_it(loaded):
    assert place_of(loaded("[cluster]\nenabled = true")) == ("127.0.0.1", 7946)
    assert place_of(loaded('[cluster]\nenabled = false\npeers = ["a:1"]')) is None


def test_peers_are_separated_by_commas_on_the_command_line(loaded):
    peers = loaded(peers="10.0.0.1:7946,caxton.internal, [fd00::1]:7000").settings.cluster.peers
    assert peers == ("10.0.0.1:7946", "caxton.internal", "[fd00::1]:7000")


@pytest.mark.parametrize(
    "peer", ["http://a:1", "a b", "fd00::1", "a:port", ":7946", "a..b:1", "a" * 64]
)
def test_what_is_no_peer_is_refused_with_what_one_is(loaded, peer):
    assert "a host and a port, such as" in mistakes(loaded, f'[cluster]\npeers = ["{peer}"]')


@pytest.mark.parametrize("key", ["gossip", "advertise"])
@pytest.mark.parametrize("address", ["localhost:7946", "127.0.0.1", "a.example:1", "[::1]"])
def test_members_tell_each_other_numbers_and_not_names(loaded, key, address):
    assert f"`cluster.{key}` must be" in mistakes(loaded, f'[cluster]\n{key} = "{address}"')


def test_keys_come_from_a_file_the_one_in_use_first(loaded, tmp_path):
    (tmp_path / "keys").write_text("\n".join(KEY_TEXTS) + "\n")
    settings = loaded('[cluster]\nenabled = true\nkey_file = "keys"')
    assert membership(settings.settings).keys == KEYS
    assert settings.sources["cluster.key"][0] == "(secret)"


@pytest.mark.parametrize("key", ["c2VjcmV0", "no key at all", f"{KEY_TEXTS[0]} c2VjcmV0"])
def test_a_key_that_is_none_is_refused_and_not_repeated(loaded, key):
    said = mistakes(loaded, f'[cluster]\nkey = "{key}"')
    assert "`cluster.key` cannot be used: a key" in said
    assert not any(word in said for word in ("c2VjcmV0", "no key at all", KEY_TEXTS[0]))


def test_too_many_keys_are_refused(loaded):
    assert "holds 9 keys; 8 at most" in mistakes(
        loaded, f'[cluster]\nkey = "{" ".join(KEY_TEXTS[:1] * 9)}"'
    )


def test_the_library_gets_what_the_settings_say(loaded):
    settings = loaded(
        '[cluster]\npreset = "fast"\nlabel = "blue"\nadvertise = "10.0.0.7:7000"',
        gossip="127.0.0.1:7001",
        name="n7",
    ).settings
    member = membership(settings)
    assert (member.name, member.label, member.swim) == ("n7", "blue", fast())
    assert (member.bind_host, member.bind_port) == ("127.0.0.1", 7001)
    assert (member.advertise_host, member.advertise_port) == ("10.0.0.7", 7000)
    assert member.peers_path.parent == settings.node.data_dir


def test_a_ring_that_others_can_reach_needs_a_key(loaded):
    with pytest.raises(Rejected, match=r"0\.0\.0\.0:7946 \(flag\)") as caught:
        refuse_exposure(loaded(gossip="0.0.0.0:7946"), is_insecure=False)
    assert "key_file" in caught.value.hint
    assert "--insecure" in caught.value.hint


def test_a_ring_with_a_key_or_one_that_is_insisted_on_may_be_reached(loaded):
    refuse_exposure(loaded(gossip="0.0.0.0:7946"), is_insecure=True)
    with_key = loaded(f'[cluster]\nkey = "{KEY_TEXTS[0]}"', gossip="0.0.0.0:7946")
    refuse_exposure(with_key, is_insecure=False)


def test_an_address_of_a_ring_that_is_off_harms_nobody(loaded):
    file = '[cluster]\nenabled = false\ngossip = "0.0.0.0:7946"'
    refuse_exposure(loaded(file), is_insecure=False)


@pytest.mark.parametrize(
    ("host", "announced"),
    [
        ("10.0.0.9", "10.0.0.9:80"),
        ("::1", "[::1]:80"),
        ("0.0.0.0", "10.0.0.7:80"),
        ("::", "10.0.0.7:80"),
    ],
)
def test_an_api_that_listens_everywhere_is_announced_where_the_ring_reaches_the_node(
    host, announced
):
    assert announced_address(host, 80, "10.0.0.7") == announced
