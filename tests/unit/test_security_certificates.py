"""Certificates: who is in them, what they are good for, and what the files must be."""

import base64
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from caxton_node.domain.errors import Conflict, Rejected
from caxton_node.security.authority import make_authority, read_authority
from caxton_node.security.identity import dns_name_of, identity_in, identity_of
from caxton_node.security.keys import make_ring_key, make_signing_key
from caxton_node.security.secret_files import FILE_BYTES_MAX, read_secret, write_all
from caxton_node.security.tls_files import TlsFiles, read_material

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EDGES = st.sampled_from("abcXYZ019")
NAMES = st.builds(
    lambda first, middle, last: first + middle + last,
    EDGES,
    st.text("abcXYZ019._-", max_size=62),
    EDGES,
)


@pytest.fixture(scope="module")
def issued():
    return make_authority("test", now=NOW)


@pytest.fixture(scope="module")
def authority(issued):
    return read_authority(issued.certificate, issued.key)


def names_of(made) -> list[str]:
    read = x509.load_pem_x509_certificate(made.certificate)
    return read.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.DNSName)


@settings(deadline=None)
@given(NAMES)
def test_a_name_comes_back_from_its_certificate_as_it_was(name):
    assert identity_in(dns_name_of("node", name)) == ("node", name)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_two_names_are_never_one_to_a_server_that_ignores_case(one, other):
    is_same = dns_name_of("node", one).lower() == dns_name_of("node", other).lower()
    assert is_same == (one == other)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_whatever_a_certificate_says_means_one_identity_or_none(text):
    for dns_name in (text, f"{text}.node.caxton.internal"):
        found = identity_in(dns_name)
        assert found is None or dns_name_of(*found) == dns_name


@pytest.mark.parametrize("name", ["", "-a", "a-", ".", "a b", "ä", "a" * 65, "a/b", "a\n"])
def test_what_is_no_name_gets_no_certificate(authority, name):
    with pytest.raises(Rejected, match="is no name"):
        authority.issue("node", name, now=NOW)


def test_a_node_serves_and_calls_and_a_client_only_calls(authority):
    usages = {}
    for kind in ("node", "client"):
        made = x509.load_pem_x509_certificate(authority.issue(kind, "a", now=NOW).certificate)
        usages[kind] = set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == {
        "node": {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH},
        "client": {ExtendedKeyUsageOID.CLIENT_AUTH},
    }


def test_a_certificate_cannot_sign_another(authority):
    made = authority.issue("node", "a", now=NOW)
    with pytest.raises(Rejected, match="none of an authority"):
        read_authority(made.certificate, made.key)


def test_no_certificate_outlives_its_authority():
    issued = make_authority("short", now=NOW, days=10)
    made = read_authority(issued.certificate, issued.key).issue("node", "a", now=NOW, days=300)
    read = x509.load_pem_x509_certificate(made.certificate)
    assert read.not_valid_after_utc == NOW + timedelta(days=10)


def test_an_expired_authority_issues_nothing(authority):
    with pytest.raises(Rejected, match="has expired"):
        authority.issue("node", "a", now=NOW + timedelta(days=4_000))


def test_a_renewed_certificate_has_the_same_names_and_another_key(authority):
    old = authority.issue("node", "Node_1", hosts=["localhost", "10.0.0.7"], now=NOW)
    new = authority.renew(old.certificate, now=NOW + timedelta(days=300))
    assert names_of(new) == names_of(old) == ["_node__1.node.caxton.internal", "localhost"]
    assert new.key != old.key


def test_a_certificate_of_another_authority_is_not_renewed(authority):
    foreign = make_authority("test", now=NOW)
    made = read_authority(foreign.certificate, foreign.key).issue("node", "a", now=NOW)
    with pytest.raises(Rejected, match="another authority"):
        authority.renew(made.certificate, now=NOW)


@pytest.mark.parametrize(
    "host", ["b.node.caxton.internal", "B.NODE.Caxton.Internal.", "a b", "", "a\n", "ä.example"]
)
def test_a_host_is_never_an_identity_nor_nonsense(authority, host):
    with pytest.raises(Rejected, match="is no host"):
        authority.issue("node", "a", hosts=[host], now=NOW)


def test_a_key_of_another_authority_is_not_taken(issued):
    other = make_authority("other", now=NOW)
    with pytest.raises(Rejected, match="not that of"):
        read_authority(issued.certificate, other.key)


def test_a_certificate_for_two_is_one_for_nobody():
    both = [b"a.node.caxton.internal", b"b.node.caxton.internal"]
    caller = identity_of(
        {
            "transport_security_type": [b"ssl"],
            "x509_pem_cert": [b"..."],
            "x509_subject_alternative_name": both,
        }
    )
    assert caller.kind is None
    assert not caller.is_peer
    assert not caller.is_client


@pytest.mark.parametrize(
    ("properties", "is_peer", "is_client"),
    [
        ({"transport_security_type": [b"insecure"]}, True, True),
        ({}, True, True),
        ({"transport_security_type": [b"ssl"]}, False, True),
        ({"x509_subject_alternative_name": [b"a.node.caxton.internal"]}, True, False),
        ({"x509_subject_alternative_name": [b"a.client.caxton.internal"]}, False, True),
        ({"x509_subject_alternative_name": [b"\xff", b"localhost"]}, False, False),
    ],
)
def test_a_node_is_no_client_and_nobody_is_neither(properties, is_peer, is_client):
    if "x509_subject_alternative_name" in properties:
        properties = {"transport_security_type": [b"ssl"], "x509_pem_cert": [b"."], **properties}
    caller = identity_of(properties)
    assert (caller.is_peer, caller.is_client) == (is_peer, is_client)


def test_files_are_their_owners_alone_and_whole(tmp_path):
    path = tmp_path / "new" / "a.key"
    write_all({path: b"secret"}, is_forced=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["a.key"]


def test_of_several_files_none_is_written_when_one_is_there(tmp_path):
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(Conflict, match="exists already"):
        write_all({tmp_path / "a": b"new", tmp_path / "b": b"new"}, is_forced=False)
    assert os.listdir(tmp_path) == ["b"]
    write_all({tmp_path / "a": b"new", tmp_path / "b": b"new"}, is_forced=True)
    assert (tmp_path / "b").read_bytes() == b"new"


def test_a_link_to_nowhere_counts_as_there(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Conflict):
        write_all({tmp_path / "a": b"new"}, is_forced=False)


def test_what_is_no_key_is_not_read_whole(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    with pytest.raises(Rejected, match="larger than"):
        read_secret(tmp_path / "big")


def test_keys_are_what_they_are_for():
    assert len(base64.b64decode(make_ring_key())) == 32
    pair = make_signing_key()
    private = serialization.load_pem_private_key(pair.private, password=None)
    public = serialization.load_pem_public_key(pair.public)
    public.verify(private.sign(b"said"), b"said")


# A node's three files.


@pytest.fixture
def place(tmp_path, issued, authority):
    """Writes the files of a node and reads them."""

    def put(name="n1", now=NOW):
        made = authority.issue("node", name, now=now)
        write_all(
            {
                tmp_path / "ca": issued.certificate,
                tmp_path / "key": made.key,
                tmp_path / "crt": made.certificate,
            },
            is_forced=True,
        )
        return made

    def read(node="n1"):
        return TlsFiles(
            authority=tmp_path / "ca",
            certificate=tmp_path / "crt",
            key=tmp_path / "key",
            node=node,
        )

    return put, read


def test_new_files_are_taken_when_they_fit_together(place, tmp_path):
    put, read = place
    put()
    files = read()
    new = put()
    assert files.current().certificate == new.certificate
    assert files.current().key == new.key


def test_files_that_do_not_fit_leave_the_old_ones_in_force(place, tmp_path, caplog):
    put, read = place
    old = put()
    files = read()
    (tmp_path / "crt").write_bytes(b"half a certif")
    assert files.current().certificate == old.certificate
    (tmp_path / "crt").unlink()
    assert files.current().certificate == old.certificate
    new = put()
    assert files.current().certificate == new.certificate
    assert "the old ones stay" in caplog.text


def test_a_certificate_of_another_node_is_not_taken(place):
    put, read = place
    put("n2")
    with pytest.raises(Rejected, match="is for the node n2, and this is the node n1"):
        read("n1")


def test_the_certificate_of_a_client_is_none_of_a_node(issued, authority):
    made = authority.issue("client", "n1", now=NOW)
    with pytest.raises(Rejected, match="is for the client n1"):
        read_material(issued.certificate, made.certificate, made.key, node="n1")


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_files_without_pem_are_named(issued, authority, broken):
    made = authority.issue("node", "n1", now=NOW)
    files = [issued.certificate, made.certificate, made.key]
    files[broken] = b"nonsense"
    name = ("ca_file", "cert_file", "key_file")[broken]
    with pytest.raises(Rejected, match=name):
        read_material(*files, node="n1")


def test_a_key_of_another_certificate_is_not_taken(issued, authority):
    one, other = (authority.issue("node", "n1", now=NOW) for _ in range(2))
    with pytest.raises(Rejected, match="is not the key of"):
        read_material(issued.certificate, one.certificate, other.key, node="n1")


def test_files_go_together(tmp_path):
    assert TlsFiles.of(authority=None, certificate=None, key=None, node="n1") is None
    with pytest.raises(Rejected, match="go together"):
        TlsFiles.of(authority=tmp_path, certificate=None, key=None, node="n1")
