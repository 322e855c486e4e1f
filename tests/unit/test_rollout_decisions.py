"""What becomes of a canary, by what it and the version in force have done."""

import pytest

from caxton_node.runtime.rollout import (
    CanarySettings,
    Outcomes,
    Promote,
    RollBack,
    Wait,
    decide,
    is_chosen,
)

SETTINGS = CanarySettings(share=0.1, watch_s=60.0, turns_min=20)


def outcomes(turns, *, failures=0, takes_s=0.01):
    made = Outcomes()
    for number in range(turns):
        made.note(takes_s, is_failure=number < failures)
    return made


def decided(running, canary, *, elapsed_s=3_600.0, is_quarantined=False):
    return decide(
        SETTINGS,
        running=running,
        canary=canary,
        is_quarantined=is_quarantined,
        elapsed_s=elapsed_s,
    )


def test_a_canary_that_does_as_well_is_promoted():
    assert decided(outcomes(200), outcomes(20)) == Promote()


def test_it_is_watched_for_its_time():
    assert decided(outcomes(200), outcomes(100), elapsed_s=59.0) == Wait()


def test_it_is_watched_over_its_turns():
    assert decided(outcomes(200), outcomes(19)) == Wait()


def test_three_failures_at_once_end_it_before_its_time():
    verdict = decided(outcomes(30), outcomes(3, failures=3), elapsed_s=1.0)
    assert verdict == RollBack("3 of 3 turns failed; of the running version 0 of 30")


def test_two_failures_are_held_to_be_chance():
    assert decided(outcomes(30), outcomes(2, failures=2)) == Wait()


def test_a_canary_may_fail_as_often_as_the_running_version_does():
    assert decided(outcomes(100, failures=20), outcomes(100, failures=25)) == Promote()


def test_a_canary_that_fails_far_more_often_is_rolled_back():
    verdict = decided(outcomes(100, failures=20), outcomes(100, failures=60))
    assert isinstance(verdict, RollBack)


def test_a_canary_that_is_clearly_slower_is_rolled_back():
    verdict = decided(outcomes(100, takes_s=0.2), outcomes(100, takes_s=0.5))
    assert verdict == RollBack(
        "one turn of twenty takes 0.5 s or longer; of the running version 0.2 s"
    )


@pytest.mark.parametrize(("usual_s", "slow_s"), [(0.001, 0.09), (1.0, 1.9)])
def test_a_canary_that_is_a_little_slower_is_not(usual_s, slow_s):
    assert decided(outcomes(100, takes_s=usual_s), outcomes(100, takes_s=slow_s)) == Promote()


def test_slowness_is_not_judged_by_a_few_turns_of_the_running_version():
    assert decided(outcomes(19, takes_s=0.001), outcomes(100, takes_s=1.0)) == Promote()


def test_a_canary_in_quarantine_is_rolled_back_at_once():
    verdict = decided(outcomes(0), outcomes(0), elapsed_s=0.0, is_quarantined=True)
    assert verdict == RollBack("it is in quarantine")


def test_about_the_share_of_conversations_is_chosen():
    chosen = sum(is_chosen(f"conv-{n}", salt="a", share=0.1) for n in range(10_000))
    assert 900 <= chosen <= 1_100


def test_the_whole_share_is_every_conversation():
    assert all(is_chosen(f"conv-{n}", salt="a", share=1.0) for n in range(1_000))


def test_another_canary_meets_other_conversations():
    first = {n for n in range(1_000) if is_chosen(f"conv-{n}", salt="a", share=0.1)}
    second = {n for n in range(1_000) if is_chosen(f"conv-{n}", salt="b", share=0.1)}
    assert len(first & second) < len(first) / 2
