"""When a failed delivery is tried again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.errors import Denied, Failed
from caxton_node.routing.redelivery import GiveUp, RetryIn, RetrySettings, after_failure

SETTINGS = RetrySettings(attempts_max=4, initial_s=0.1, factor=2.0, delay_max_s=0.3)
TRANSIENT = Failed("model_failed", "no route to host")


def decide(error, attempts, seed=1):
    return after_failure(error, attempts=attempts, settings=SETTINGS, random=Random(seed))


@pytest.mark.parametrize(("attempts", "delay_s"), [(1, 0.1), (2, 0.2), (3, 0.3)])
def test_the_delay_grows_up_to_its_bound(attempts, delay_s):
    decision = decide(TRANSIENT, attempts)
    assert isinstance(decision, RetryIn)
    assert 0.8 * delay_s <= decision.delay_s <= 1.2 * delay_s


def test_after_the_last_attempt_the_message_is_given_up():
    assert decide(TRANSIENT, 4) == GiveUp("retries_exhausted: model_failed: no route to host")


def test_what_cannot_succeed_later_is_not_tried_again():
    assert decide(Denied("denied", "no"), 1) == GiveUp("denied: no")


@given(st.integers(0, 2**32))
def test_messages_that_failed_together_do_not_come_back_together(seed):
    assert decide(TRANSIENT, 1, seed) != decide(TRANSIENT, 1, seed + 1)
