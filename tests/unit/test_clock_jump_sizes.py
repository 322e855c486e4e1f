"""Telling a clock that was set from one that is kept right."""

from caxton_node.runtime.clock_jumps import ClockJumps


def test_time_that_passes_is_no_jump():
    jumps = ClockJumps(1_000_000, 5.0)
    assert jumps.since(1_000_250, 5.25) == 0
    assert jumps.since(1_060_250, 65.25) == 0


def test_a_clock_kept_right_slowly_never_jumps():
    jumps = ClockJumps(0, 0.0)
    assert [jumps.since(second * 1_500, float(second)) for second in range(1, 100)] == [0] * 99


def test_a_jump_is_told_once_with_its_size():
    jumps = ClockJumps(0, 0.0)
    assert jumps.since(3_600_250, 0.25) == 3_600_000
    assert jumps.since(3_600_500, 0.5) == 0
    assert jumps.since(750, 0.75) == -3_600_000
