"""The keys of a ring over a restart: what is written, what is read, and who wins."""

import json
import stat
from base64 import b64encode

import pytest

from caxton_cluster.key_keeper import KeyKeeper
from caxton_cluster.keyfile import (
    KeyRecord,
    choose_keys,
    fingerprint,
    read_keys,
    write_keys,
)
from caxton_cluster.swim.secrecy import KEY_COUNT_MAX, KeyRing
from caxton_node.runtime import ring as views

OLD, NEW, OTHER = b"o" * 16, b"n" * 24, b"x" * 32
ROTATED = KeyRecord.of([NEW], settings_keys=[OLD])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def test_without_a_file_the_settings_say_what_the_keys_are():
    assert choose_keys([OLD, NEW], None).keys == (OLD, NEW)


def test_a_rotation_outlasts_settings_that_stayed():
    choice = choose_keys([OLD], ROTATED)

    assert (choice.keys, choice.problem) == ((NEW,), None)


def test_settings_that_followed_a_rotation_are_no_conflict():
    choice = choose_keys([NEW], ROTATED)

    assert (choice.keys, choice.problem) == ((NEW,), None)


@pytest.mark.parametrize("keys", [[OTHER], [OLD, OTHER], [NEW, OLD]])
def test_settings_that_changed_otherwise_win_and_both_sides_are_named(keys):
    choice = choose_keys(keys, ROTATED)

    assert choice.keys == tuple(keys)
    assert all(fingerprint(key) in choice.problem for key in (*keys, NEW))
    assert not any(b64encode(key).decode() in choice.problem for key in (*keys, NEW))


def test_the_order_of_the_keys_in_the_settings_counts():
    record = KeyRecord.of([NEW], settings_keys=[OLD, OTHER])

    assert choose_keys([OTHER, OLD], record).keys == (OTHER, OLD)


def test_settings_without_a_key_mean_plaintext_and_are_wondered_at():
    choice = choose_keys([], ROTATED)

    assert choice.keys == ()
    assert fingerprint(NEW) in choice.problem


def test_the_file_gives_back_what_was_written_and_is_its_owners_only(path):
    write_keys(path, KeyRecord.of([OTHER], [OLD]))
    write_keys(path, ROTATED)

    assert read_keys(path) == (ROTATED, None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_no_key_of_the_settings_is_in_the_file(path):
    write_keys(path, ROTATED)

    assert b64encode(OLD).decode() not in path.read_text()


def test_a_record_gives_no_key_away():
    assert repr(NEW) not in repr(ROTATED)
    assert fingerprint(NEW) in repr(ROTATED)


def test_no_file_is_no_problem(path):
    assert read_keys(path) == (None, None)


def content(**changes) -> str:
    whole = {"format": 1, "settings": "", "keys": [b64encode(NEW).decode()]}
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "\x00\xff",
        "[" * 4000,
        content(keys=None),
        content(keys=[]),
        content(keys=["c2VjcmV0"]),
        content(keys=["no base64"]),
        content(keys=[7]),
        content(keys=[b64encode(bytes([n]) * 16).decode() for n in range(KEY_COUNT_MAX + 1)]),
        content(format=2),
        " " * 5000,
    ],
)
def test_a_file_that_cannot_be_used_is_told_without_its_content(path, text):
    path.write_text(text)

    record, problem = read_keys(path)

    assert record is None
    assert str(path) in problem
    assert "c2VjcmV0" not in problem


def test_a_folder_in_the_place_of_the_file_is_told(path):
    path.mkdir()

    record, problem = read_keys(path)

    assert record is None
    assert problem


def test_nodes_and_the_library_name_a_key_alike():
    assert fingerprint(NEW) == views.fingerprint(NEW)


def key_ring(*keys: bytes) -> KeyRing:
    return KeyRing(keys, bytes)


async def test_a_ring_that_was_rotated_is_recalled_by_the_next_life(path):
    rotated, restarted = key_ring(OLD), key_ring(OLD)
    keeper = KeyKeeper(rotated, path)
    await keeper.recall()
    rotated.install(NEW)
    rotated.use(NEW)
    rotated.remove(OLD)

    assert keeper.has_news
    assert await keeper.keep() is None
    assert not keeper.has_news
    assert await KeyKeeper(restarted, path).recall() == []
    assert restarted.keys == (NEW,)


async def test_a_second_rotation_outlasts_the_same_settings_too(path):
    first, second, third = key_ring(OLD), key_ring(OLD), key_ring(OLD)
    for rotated, key in ((first, NEW), (second, OTHER)):
        keeper = KeyKeeper(rotated, path)
        await keeper.recall()
        rotated.replace([key])
        await keeper.keep()

    await KeyKeeper(third, path).recall()

    assert third.keys == (OTHER,)


async def test_a_conflict_leaves_the_file_for_settings_that_are_mended(path):
    write_keys(path, ROTATED)
    mistaken = KeyKeeper(key_ring(OTHER), path)

    assert await mistaken.recall()
    assert await mistaken.keep() is None
    assert read_keys(path) == (ROTATED, None)


async def test_a_write_that_fails_is_told_and_tried_again(path):
    ring = key_ring(OLD)
    keeper = KeyKeeper(ring, path)
    await keeper.recall()
    ring.replace([NEW])
    path.mkdir()
    (path / "in the way").touch()

    assert "cannot be kept" in await keeper.keep()
    (path / "in the way").unlink()
    path.rmdir()
    assert await keeper.keep() is None
    assert read_keys(path) == (ROTATED, None)
