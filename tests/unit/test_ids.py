"""Identifiers: unique, and in the order of time."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from caxton_node.domain.ids import boot_token, id_factory

# Nine digits to base 36 hold milliseconds until the year 5188.
MILLISECONDS = st.integers(min_value=0, max_value=36**9 - 1)


@given(first=MILLISECONDS, second=MILLISECONDS, seed=st.integers())
def test_a_later_boot_has_a_greater_token(first, second, seed):
    earlier, later = sorted((first, second))
    if earlier != later:
        assert boot_token(earlier, Random(seed)) < boot_token(later, Random(seed + 1))


@given(now_ms=MILLISECONDS, seed=st.integers())
def test_tokens_have_one_length(now_ms, seed):
    assert len(boot_token(now_ms, Random(seed))) == 17


def test_two_nodes_that_boot_in_one_millisecond_differ():
    assert boot_token(1_000, Random(1)) != boot_token(1_000, Random(2))


def test_one_seed_replays_exactly():
    assert boot_token(1_000, Random(7)) == boot_token(1_000, Random(7))


def test_the_ids_of_one_boot_rise_and_never_repeat():
    new_id = id_factory("token")
    ids = [new_id("msg") for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert ids[0] == "msg-token-00000001"
    assert ids[0x0FFF:0x1001] == ["msg-token-00001000", "msg-token-00001001"]


def test_kinds_share_one_counter():
    new_id = id_factory("token")
    assert [new_id("msg"), new_id("conv")] == ["msg-token-00000001", "conv-token-00000002"]
