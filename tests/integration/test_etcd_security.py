"""The metadata store with an etcd that asks for certificates and passwords."""

import asyncio
import ssl
from contextlib import aclosing

import pytest

from caxton_cluster.errors import InvalidSetting, MetadataDenied, MetadataUnavailable
from caxton_cluster.metadata import Connection, EtcdSettings
from caxton_cluster.metadata.etcd import EtcdStore
from tests.integration.etcd_certificates import write_certificates
from tests.integration.etcd_cluster import etcd_cluster, needs_etcd, text

pytestmark = needs_etcd

PATIENCE_S = 15.0
TOKEN_TTL_S = 1
PASSWORDS = {"root": "r00t", "caxton": "s3cret"}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """One member that wants a certificate and a password; `caxton` may use `/caxton/` only."""
    folder = tmp_path_factory.mktemp("etcd")
    write_certificates(folder, "member", "client")
    options = (
        *("--client-cert-auth", "--trusted-ca-file", str(folder / "ca.pem")),
        *("--cert-file", str(folder / "member.pem"), "--key-file", str(folder / "member.key")),
        *("--auth-token-ttl", str(TOKEN_TTL_S)),
    )
    tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    tls.load_cert_chain(folder / "client.pem", folder / "client.key")
    with etcd_cluster(folder, count=1, scheme="https", options=options, tls=tls) as cluster:
        cluster.ask("auth/role/add", name="caxton")
        grant = {"permType": "READWRITE", "key": text("/caxton/"), "range_end": text("/caxton0")}
        cluster.ask("auth/role/grant", name="caxton", perm=grant)
        for user, role in (("root", "root"), ("caxton", "caxton")):
            cluster.ask("auth/user/add", name=user, password=PASSWORDS[user])
            cluster.ask("auth/user/grant", user=user, role=role)
        cluster.ask("auth/enable")
        cluster.folder = folder
        yield cluster


def settings_of(etcd, **others):
    given = {
        "endpoints": etcd.endpoints,
        "ca_path": etcd.folder / "ca.pem",
        "cert_path": etcd.folder / "client.pem",
        "key_path": etcd.folder / "client.key",
        "user": "caxton",
        "password": PASSWORDS["caxton"],
    }
    return EtcdSettings(**(given | others))


async def test_a_certificate_and_a_password_let_us_in(etcd):
    async with EtcdStore(settings_of(etcd)) as store:
        await store.put("a", b"1")
        assert (await store.get("a")).value == b"1"
        async with store.lock("job", holder="n1", ttl_s=5, timeout_s=5) as lock:
            assert lock.is_held


async def test_a_token_that_ended_is_renewed_without_a_word(etcd):
    async with EtcdStore(settings_of(etcd)) as store, aclosing(store.watch("w/")) as watch:
        await anext(watch)
        await store.put("w/a", b"1")
        # Etcd looks for tokens that ended every second or so.
        await asyncio.sleep(3 * TOKEN_TTL_S)
        await store.put("w/a", b"2")
        values = []
        async with asyncio.timeout(PATIENCE_S):
            while len(values) < 2:
                values += [event.value for event in (await anext(watch)).events]
        assert values == [b"1", b"2"]


async def test_a_watch_that_is_opened_with_an_ended_token_gets_another_one(etcd):
    async with EtcdStore(settings_of(etcd, probe_interval_s=60.0)) as store:
        await store.get("a")
        await asyncio.sleep(3 * TOKEN_TTL_S)
        request = store._follow(b"/caxton/w/", b"/caxton/w0", 1)
        async with aclosing(request) as changes, asyncio.timeout(PATIENCE_S):
            writing = asyncio.create_task(anext(changes))  # noqa: TID251 - a reader of the test's own
            await asyncio.sleep(0)
            await store.put("w/b", b"")
            assert (await writing).events


async def test_other_keys_than_our_own_are_denied(etcd):
    async with EtcdStore(settings_of(etcd, prefix="/secret/")) as store:
        with pytest.raises(MetadataDenied):
            await store.get("a")
        with pytest.raises(MetadataDenied):
            await store.put("a", b"")
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(MetadataDenied):
                await anext(store._follow(b"/secret/", b"/secret0", 1))
        async with asyncio.timeout(PATIENCE_S):
            while "permission denied" not in store.state.reason:
                await asyncio.sleep(0.02)
        assert store.state.connection is Connection.DEGRADED


async def test_a_wrong_password_is_denied_and_not_repeated_in_any_text(etcd):
    settings = settings_of(etcd, password="wr0ng")
    async with EtcdStore(settings) as store:
        with pytest.raises(MetadataDenied) as caught:
            await store.get("a")
        assert "wr0ng" not in f"{caught.value} {store.state} {settings!r}"


async def test_nobody_comes_in_without_a_name_where_one_is_asked_for(etcd):
    async with EtcdStore(settings_of(etcd, user="", password="")) as store:
        with pytest.raises(MetadataDenied):
            await store.get("a")


async def test_nobody_comes_in_without_a_certificate(etcd):
    settings = settings_of(
        etcd, cert_path=None, key_path=None, timeout_s=1.0, attempt_timeout_s=0.5
    )
    async with EtcdStore(settings) as store:
        with pytest.raises(MetadataUnavailable):
            await store.get("a")


async def test_a_member_that_another_authority_vouches_for_is_not_believed(etcd, tmp_path):
    write_certificates(tmp_path, "other")
    settings = settings_of(etcd, ca_path=tmp_path / "ca.pem", timeout_s=1.0, attempt_timeout_s=0.5)
    async with EtcdStore(settings) as store:
        with pytest.raises(MetadataUnavailable, match=r"(?i)certificate"):
            await store.get("a")


async def test_a_certificate_that_is_not_there_is_named(etcd, tmp_path):
    missing = tmp_path / "none.pem"
    with pytest.raises(InvalidSetting, match=r"none\.pem cannot be read"):
        async with EtcdStore(settings_of(etcd, ca_path=missing)):
            pytest.fail("it cannot be opened")
