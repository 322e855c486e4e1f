"""Deleted agents stay deleted."""

from caxton_node.forwarding import retirement as module
from caxton_node.forwarding.retirement import Retirement
from caxton_node.runtime.placement import Copy


def copy(revision, epoch=1, agent="Ada"):
    return Copy(agent=agent, node="n1", revision=revision, epoch=epoch, digest="d")


def test_a_deleted_agents_copies_are_over_whatever_their_epoch():
    retirement = Retirement()
    assert retirement.note("Ada", 3)
    copies = [copy(2), copy(3, epoch=9), copy(4), copy(1, agent="Bob")]
    assert retirement.in_force(copies) == [copies[2], copies[3]]


def test_a_deletion_that_is_known_is_no_news():
    retirement = Retirement()
    assert retirement.note("Ada", 3)
    assert not retirement.note("Ada", 3)
    assert not retirement.note("Ada", 2)
    assert retirement.note("Ada", 4)
    assert retirement.revision("Ada") == 4
    assert retirement.revision("Bob") == 0


def test_the_longest_gone_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED_MAX", 2)
    retirement = Retirement()
    for agent in ("Ada", "Bob", "Ada", "Cyd"):
        retirement.note(agent, 1 + retirement.revision(agent))
    assert dict(retirement.all()) == {"Ada": 2, "Cyd": 1}
