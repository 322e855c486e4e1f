"""Which side a node takes itself to be on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_cluster.errors import InvalidSetting
from caxton_cluster.partition import Partition, PartitionConfig, PartitionMode, mode_of

MAJORITY, MINORITY, ISOLATED = PartitionMode
START = 100.0


def partition(*, expect=None, learnt=None):
    return Partition(PartitionConfig(expect=expect), expected_count=learnt, now=START)


def lasting(part, alive_count, now):
    """Let a membership last, and return the time after."""
    part.observe(alive_count, now)
    part.tick(now + 2)
    return now + 2


@pytest.mark.parametrize(
    ("alive", "expected", "mode"),
    [
        (1, 1, MAJORITY), (1, 2, ISOLATED), (2, 2, MAJORITY), (2, 3, MAJORITY), (1, 3, ISOLATED),
        (2, 4, MINORITY), (3, 4, MAJORITY), (2, 5, MINORITY), (3, 5, MAJORITY), (3, 6, MINORITY),
        (7, 3, MAJORITY),
    ],
)  # fmt: skip
def test_more_than_half_is_a_majority(alive, expected, mode):
    assert mode_of(alive, expected) is mode


@given(st.integers(2, 100), st.data())
def test_however_a_membership_parts_one_side_at_most_is_the_majority(count, data):
    cuts = data.draw(st.lists(st.integers(1, count - 1), unique=True, max_size=3).map(sorted))
    sizes = [high - low for low, high in zip([0, *cuts], [*cuts, count], strict=True)]
    modes = []
    for size in sizes:
        part = partition()
        now = lasting(part, count, START)
        lasting(part, size, now)
        modes.append(part.view.mode)

    assert modes.count(MAJORITY) <= 1


@given(st.integers(2, 12), st.data())
def test_goodbyes_on_either_side_never_make_two_majorities(count, data):
    size = data.draw(st.integers(1, count - 1))
    modes = []
    for alive in (size, count - size):
        part = partition()
        now = lasting(part, count, START)
        now = lasting(part, alive, now)
        for left in range(data.draw(st.integers(0, alive - 1))):
            part.member_left(now)
            now = lasting(part, alive - left - 1, now)
        modes.append(part.view.mode)

    assert modes.count(MAJORITY) <= 1


def test_a_node_alone_is_its_own_majority():
    view = partition().view

    assert (view.mode, view.expected_count, view.majority_count) == (MAJORITY, 1, 1)
    assert view.is_writable


def test_a_node_that_knew_others_waits_for_them():
    part = partition(learnt=3)
    assert part.view.mode is ISOLATED

    part.observe(2, START + 1)
    assert part.view.mode is ISOLATED, "not before it lasts"
    part.tick(part.wakeup_at())

    assert part.view.mode is MAJORITY


def test_of_two_nodes_that_lose_each_other_neither_goes_on():
    part = partition()
    now = lasting(part, 2, START)

    part.observe(1, now)

    assert part.view.mode is ISOLATED
    assert not part.view.is_writable


def test_an_operator_may_let_one_of_two_go_on():
    part = partition(expect=1)
    now = lasting(part, 2, START)

    part.observe(1, now)

    assert part.view.mode is MAJORITY


def test_the_way_down_takes_no_time_and_the_way_up_does():
    part = partition(learnt=5)
    now = lasting(part, 5, START)
    part.observe(2, now)
    assert (part.view.mode, part.view.entered_at) == (MINORITY, now)

    part.observe(4, now + 1)
    part.observe(2, now + 1.5)
    part.observe(4, now + 1.8)
    part.tick(now + 2.7)
    assert part.view.mode is MINORITY
    part.tick(now + 2.8)

    assert (part.view.mode, part.view.entered_at) == (MAJORITY, now + 2.8)


def test_what_flaps_never_becomes_the_majority():
    part = partition(learnt=5)
    for step in range(100):
        part.observe(3 if step % 2 else 2, START + step * 0.5)
        assert part.view.mode is not MAJORITY


def test_the_largest_lasting_membership_is_expected_from_then_on():
    part = partition()
    part.observe(3, START)
    part.observe(5, START + 0.5)
    part.tick(START + 1)
    assert part.view.expected_count == 3
    part.tick(START + 1.5)

    assert part.view.expected_count == 5
    part.observe(2, START + 60)
    part.tick(START + 10_000)
    assert part.view.expected_count == 5


def test_what_does_not_last_is_not_expected():
    part = partition()
    now = lasting(part, 3, START)
    part.observe(9, now)
    part.observe(3, now + 0.9)

    part.tick(now + 10)

    assert part.view.expected_count == 3
    assert part.wakeup_at() is None


def test_who_says_goodbye_is_not_expected():
    part = partition()
    now = lasting(part, 3, START)
    for alive in (2, 1):
        part.member_left(now)
        part.observe(alive, now)
        assert part.view.mode is MAJORITY
        assert part.view.expected_count == alive
        now += 5
    part.tick(now)

    assert part.view.expected_count == 1


def test_what_an_operator_expects_is_not_learnt_away():
    part = partition(expect=3, learnt=7)
    lasting(part, 5, START)
    part.member_left(START + 5)

    assert part.view.expected_count == 3


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 3), st.booleans()), max_size=30))
def test_the_view_is_current_when_it_was_woken_as_it_asked(steps):
    part, now = partition(), START
    for alive, wait_s, has_left in steps:
        end = now + wait_s
        while (at := part.wakeup_at()) is not None and at <= end:
            assert at >= now, "no wakeup in the past"
            part.tick(at)
            now = at
        now = end
        if has_left:
            part.member_left(now)
        part.observe(alive, now)
        view = part.view
        calm = mode_of(alive, view.expected_count)
        assert view.mode is calm or (calm is MAJORITY and part.wakeup_at() is not None)


@pytest.mark.parametrize("setting", [{"expect": 0}, {"expect": 70_000}, {"settle_s": -1}])
def test_a_partition_setting_that_cannot_work_is_refused(setting):
    with pytest.raises(InvalidSetting):
        PartitionConfig(**setting)
