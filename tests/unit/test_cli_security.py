"""`caxton security`: the files it makes, and what it refuses."""

import ssl
import stat

import pytest

from caxton_node.cli.main import main
from caxton_node.config import load_settings
from caxton_node.security.identity import dns_name_of
from caxton_node.security.tls_files import TlsFiles
from tests.command_line import CommandLine


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys, "http://127.0.0.1:1")


def test_an_authority_and_a_nodes_certificate_are_made_without_a_server(run, tmp_path):
    assert run("security", "init-ca").out == "✓ Wrote certs/ca.crt and certs/ca.key\n"
    made = run("security", "gen-cert", "--node", "Node_1", "--host", "localhost")
    assert made.out == "✓ Wrote certs/Node_1.crt and certs/Node_1.key\n"
    folder = tmp_path / "certs"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    files = TlsFiles(
        authority=folder / "ca.crt",
        certificate=folder / "Node_1.crt",
        key=folder / "Node_1.key",
        node="Node_1",
    )
    assert files.current().node == "Node_1"
    # Another library than ours reads them too.
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "Node_1.crt", folder / "Node_1.key")


def test_nothing_is_replaced_unless_it_is_forced(run, tmp_path):
    run("security", "init-ca")
    before = (tmp_path / "certs" / "ca.key").read_bytes()
    refused = run("security", "init-ca")
    assert refused.code == 6
    assert "--force" in refused.err
    assert (tmp_path / "certs" / "ca.key").read_bytes() == before
    assert run("security", "init-ca", "--force").code == 0
    assert (tmp_path / "certs" / "ca.key").read_bytes() != before


def test_a_renewed_certificate_keeps_its_names(run):
    run("security", "init-ca")
    run("security", "gen-cert", "--node", "n1", "--host", "10.0.0.7", "--days", "30")
    (before,) = run("--output", "json", "security", "show-cert", "certs/n1.crt").documents
    assert run("security", "renew-cert", "n1").code == 0
    (after,) = run("--output", "json", "security", "show-cert", "certs/n1.crt").documents
    assert after["names"] == before["names"] == [dns_name_of("node", "n1"), "10.0.0.7"]
    assert after["not_after"] > before["not_after"]
    assert after["fingerprint"] != before["fingerprint"]


def test_a_certificate_is_for_a_node_or_a_client(run):
    run("security", "init-ca")
    assert run("security", "gen-cert").code == 2
    assert run("security", "gen-cert", "--node", "a", "--client", "b").code == 2
    assert run("security", "gen-cert", "--client", "b", "--host", "h").code == 2
    assert run("security", "gen-cert", "--client", "billing").code == 0
    assert "billing.client.caxton.internal" in run("security", "show-cert", "certs/billing.crt").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("gen-cert", "--node", "a/b"),
        ("gen-cert", "--node", "../x"),
        ("gen-cert", "--node", "a", "--days", "100000"),
        ("gen-cert", "--node", "a", "--host", "no host"),
        ("renew-cert", "../a"),
        ("renew-cert", "nobody"),
        ("show-cert", "certs/ca.key"),
        ("show-cert", "missing.crt"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(run, tmp_path, arguments):
    run("security", "init-ca")
    refused = run("security", *arguments)
    assert refused.code == 2
    assert refused.err.startswith("✗ ")
    assert "bug" not in refused.err
    assert sorted(path.name for path in (tmp_path / "certs").iterdir()) == ["ca.crt", "ca.key"]


def test_without_an_authority_nothing_is_issued(run):
    refused = run("security", "gen-cert", "--node", "a")
    assert refused.code == 2
    assert "certs/ca.crt" in refused.err


def test_keys_are_made_for_the_ring_and_for_signing(run, tmp_path):
    assert run("security", "gen-key").out == "✓ Wrote gossip.key\n"
    assert run("security", "gen-key", "--kind", "signing").code == 0
    assert b"PRIVATE KEY" in (tmp_path / "signing.key").read_bytes()
    assert b"PUBLIC KEY" in (tmp_path / "signing.pub").read_bytes()
    assert run("security", "gen-key", "--kind", "signing", "--out", "x.pub").code == 2


def test_the_ring_takes_the_key_that_was_made(run, tmp_path):
    run("security", "gen-key")
    loaded = load_settings(
        flags={},
        environment={"CAXTON_CLUSTER__KEY_FILE": str(tmp_path / "gossip.key")},
        working_dir=tmp_path,
        home=tmp_path,
    )
    (key,) = loaded.settings.cluster.keys()
    assert len(key) == 32


def test_help_does_not_need_an_authority(capsys):
    assert main(["security", "--help"]) == 0
    assert "init-ca" in capsys.readouterr().out
