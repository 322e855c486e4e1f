"""How open files are shared."""

import resource

import pytest

from caxton_node.open_files import allot, raise_limit


@pytest.mark.parametrize("count", [16, 256, 1_024, 4_096, 65_536])
def test_connections_leave_a_share_to_everything_else(count):
    shares = allot(count)
    assert shares.http + shares.grpc <= count - count // 4
    assert min(shares.http, shares.grpc) >= 1


def test_many_files_make_no_more_connections_than_are_any_use():
    assert allot(1_000_000).http == allot(1_000_000).grpc == 10_000


def test_the_limit_is_raised_to_what_the_system_allows():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        assert raise_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
