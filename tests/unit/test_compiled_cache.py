"""The cache of compiled guests stays within its room, and keeps what is in use."""

import os

from caxton_node.wasm.cache_room import CachedFile, make_room, to_throw_away

FILES = [CachedFile("old", 40, 1.0), CachedFile("used", 40, 0.5), CachedFile("new", 40, 2.0)]


def test_nothing_goes_while_there_is_room():
    assert to_throw_away(FILES, in_use=(), bytes_max=120) == []


def test_what_was_asked_for_longest_ago_goes_first():
    assert to_throw_away(FILES, in_use=(), bytes_max=60) == ["used", "old"]


def test_what_is_in_use_stays_however_old():
    assert to_throw_away(FILES, in_use={"used"}, bytes_max=60) == ["old", "new"]


def test_no_more_goes_than_has_to():
    assert to_throw_away(FILES, in_use={"used"}, bytes_max=80) == ["old"]


def test_a_file_goes_with_its_report(tmp_path):
    for age, name in enumerate(("new", "old")):
        (tmp_path / f"{name}.cwasm").write_bytes(b"x" * 100)
        (tmp_path / f"{name}.json").write_bytes(b"{}")
        os.utime(tmp_path / f"{name}.cwasm", (1_000 - age, 1_000 - age))
    (tmp_path / "key").write_bytes(b"k")
    assert make_room(tmp_path, in_use=(), bytes_max=150) == ["old.cwasm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "new.cwasm", "new.json"]
