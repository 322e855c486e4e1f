"""A link sends at once while frames are few, and on a beat while they are many."""

import pytest

from caxton_node.forwarding.pace import SAVED_FRAMES, Pace, beat_s, lazy_s


def times_of_frames(count: int, peer_count: int, *, every_s: float) -> list[float]:
    """Return when frames go that are wanted every so often."""
    pace, now_s, times = Pace(), 100.0, []
    for _ in range(count):
        now_s = pace.due_s(now_s, peer_count)
        pace.sent(now_s, peer_count)
        times.append(now_s)
        now_s += every_s
    return times


@pytest.mark.parametrize("peer_count", [1, 2, 9, 40])
def test_frames_that_come_slower_than_the_beat_never_wait(peer_count):
    every_s = beat_s(peer_count) * 1.01
    times = times_of_frames(100, peer_count, every_s=every_s)
    assert times == pytest.approx([100.0 + number * every_s for number in range(100)])


@pytest.mark.parametrize("peer_count", [1, 2, 9, 40])
def test_many_frames_go_on_the_beat_once_what_was_saved_is_used_up(peer_count):
    times = times_of_frames(1_000, peer_count, every_s=0.0)
    assert times[SAVED_FRAMES] == 100.0
    assert times[-1] - times[SAVED_FRAMES] == pytest.approx(
        (999 - SAVED_FRAMES) * beat_s(peer_count)
    )


def test_what_frames_cost_in_all_does_not_grow_with_the_peers():
    frames_per_s = [peer_count / beat_s(peer_count) for peer_count in range(1, 11)]
    assert max(frames_per_s) <= 4_000
    assert min(frames_per_s) >= 2_000


def test_outcomes_have_no_frames_of_their_own_between_those_of_messages():
    assert all(lazy_s(peer_count) >= beat_s(peer_count) for peer_count in range(1, 40))
