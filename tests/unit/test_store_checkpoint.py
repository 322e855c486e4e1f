"""The log is copied beside the writer, begins anew in time, and a failed copy is made up for."""

import itertools
import sqlite3
import threading
from contextlib import closing

import pytest

from caxton_node.domain.message import Message
from caxton_node.domain.performatives import Performative
from caxton_node.store import committer as committer_module
from caxton_node.store.batch import Batch
from caxton_node.store.checkpoint import Copier
from caxton_node.store.committer import Committer
from caxton_node.store.queries import load_queries

PAGE_BYTES = 8_192
LOG_PAGES_MAX = 64


def batch_of(seq: int) -> Batch:
    message = Message(
        id=f"msg-{seq}",
        performative=Performative.INFORM,
        sender="a",
        receiver="b",
        content=b'"' + b"x" * 500 + b'"',
        conversation_id=f"conv-{seq % 5}",
    )
    batch = Batch()
    batch.add([(seq, message)], (), None)
    return batch


@pytest.fixture
def committer(tmp_path, monkeypatch):
    monkeypatch.setattr(committer_module, "_CHECKPOINT_BYTES", 8_000)
    monkeypatch.setattr(committer_module, "_LOG_PAGES_MAX", LOG_PAGES_MAX)
    made = Committer(tmp_path / "store.db", is_synced=False, queries=load_queries())
    made.open()
    yield made
    made.close()


def log_bytes(tmp_path) -> int:
    return (tmp_path / "store.db-wal").stat().st_size


def test_a_long_log_begins_anew_although_a_copy_is_never_complete(committer, tmp_path, monkeypatch):
    seqs = itertools.count(1)

    def copy_all_but_the_last_batch(copier: Copier) -> None:
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as reader:
            reader.execute("BEGIN").execute("SELECT count(*) FROM messages").fetchone()
            committer.commit(batch_of(next(seqs)))
            copier.log_pages = copier._copy()

    monkeypatch.setattr(Copier, "order", copy_all_but_the_last_batch)
    while next(seqs) < 1_000:
        committer.commit(batch_of(next(seqs)))
        committer.keep_books()
    # Longer by what is written between two copies, and between the last one and its end.
    assert log_bytes(tmp_path) < 3 * LOG_PAGES_MAX * PAGE_BYTES


def test_a_log_that_nobody_copies_grows(committer, tmp_path, monkeypatch):
    """What the test above would see if the copier did nothing."""
    monkeypatch.setattr(Copier, "order", lambda _: None)
    for seq in range(1, 1_000):
        committer.commit(batch_of(seq))
        committer.keep_books()
    assert log_bytes(tmp_path) > 3 * LOG_PAGES_MAX * PAGE_BYTES


def test_a_copy_that_failed_is_made_after_the_next_batch(committer, monkeypatch, caplog):
    tried, done = threading.Event(), threading.Event()
    copy = Copier._copy

    def refuse_once(copier: Copier) -> int:
        if not tried.is_set():
            tried.set()
            raise OSError("the disk refuses")
        pages = copy(copier)
        done.set()
        return pages

    monkeypatch.setattr(Copier, "_copy", refuse_once)
    seq = 0
    while not done.is_set():
        seq += 1
        committer.commit(batch_of(seq))
        committer.keep_books()
    assert "the log could not be copied" in caplog.text


def test_closing_finishes_the_copy_that_was_ordered(committer, tmp_path):
    for seq in range(1, 100):
        committer.commit(batch_of(seq))
        committer.keep_books()
    committer.close()
    assert not (tmp_path / "store.db-wal").exists()
    assert committer._copier.is_idle


def test_nothing_is_copied_while_the_next_commit_could_begin_the_log_anew(
    committer, tmp_path, monkeypatch
):
    """A copy that has copied everything is followed by a write before the next is ordered."""
    orders = []
    monkeypatch.setattr(Copier, "order", lambda copier: orders.append(copier._copy()))
    committer.commit(batch_of(1))
    committer._unchecked_bytes = 10_000
    committer.keep_books()
    committer._unchecked_bytes = 10_000
    committer.keep_books()
    assert len(orders) == 1
    committer.commit(batch_of(2))
    committer.keep_books()
    assert len(orders) == 2
