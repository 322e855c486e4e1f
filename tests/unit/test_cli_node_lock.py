import subprocess
import sys

import pytest

from caxton_node.cli.node_lock import hold_lock, lock_holder, lock_path, wait_for_release
from caxton_node.domain.errors import Conflict

URL = "http://127.0.0.1:8080"

HOLD = """
import sys
from pathlib import Path
from caxton_node.cli.node_lock import hold_lock
with hold_lock(Path(sys.argv[1]), "http://127.0.0.1:8080"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until it is told to let go."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_is_found_with_its_address(tmp_path, holder):
    found = lock_holder(tmp_path)
    assert (found.process_id, found.url) == (holder.pid, URL)


def test_a_second_node_on_the_same_data_is_refused(tmp_path, holder):
    with pytest.raises(Conflict, match=f"process {holder.pid}"), hold_lock(tmp_path, URL):
        pytest.fail("two nodes on one directory")


def test_a_killed_holder_misleads_nobody(tmp_path, holder):
    holder.kill()
    holder.wait(10)
    assert lock_path(tmp_path).read_text().startswith(str(holder.pid))
    assert lock_holder(tmp_path) is None
    with hold_lock(tmp_path, URL):
        pass


def test_a_release_is_waited_for(tmp_path, holder):
    assert not wait_for_release(tmp_path, 0.05)
    holder.communicate("\n", timeout=10)
    assert wait_for_release(tmp_path, 10)


def test_where_no_node_ever_ran_nobody_is_found(tmp_path):
    assert lock_holder(tmp_path / "nowhere") is None
    assert wait_for_release(tmp_path / "nowhere", 10)


def test_a_lock_that_is_held_but_not_yet_written_names_nobody(tmp_path):
    import fcntl

    with lock_path(tmp_path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holder(tmp_path) is None
