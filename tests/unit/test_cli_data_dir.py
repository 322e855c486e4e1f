"""What a start says when its data directory is of no use."""

import errno

import pytest

from caxton_node.cli.data_dir import using_data_dir
from caxton_node.cli.node_lock import hold_lock
from caxton_node.domain.errors import Unavailable

URL = "http://127.0.0.1:8080"


def test_a_file_where_the_folder_should_be_is_told(tmp_path):
    file = tmp_path / "data"
    file.write_text("mine")
    with pytest.raises(Unavailable) as caught, hold_lock(file, URL):
        pytest.fail("a file is no folder")
    assert caught.value.detail == f"The data directory {file} cannot be used: File exists"
    assert "move it away" in caught.value.hint
    assert "--data-dir" in caught.value.hint
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "helps"),
    [
        (errno.EROFS, "mount it so that it can be written"),
        (errno.EACCES, "give it to the user that runs the node"),
        (errno.ENOSPC, "free some space on its disk"),
        (errno.ENOENT, "choose another folder"),
        (errno.EIO, "look after its disk"),
    ],
)
def test_what_the_system_refuses_comes_with_what_helps(tmp_path, number, helps):
    with pytest.raises(Unavailable, match=str(tmp_path)) as caught, using_data_dir(tmp_path):
        raise OSError(number, "refused")
    assert caught.value.hint.startswith(helps)


def test_what_a_node_meets_while_it_runs_is_not_blamed_on_its_folder(tmp_path):
    with pytest.raises(OSError, match="of its own"), hold_lock(tmp_path, URL):
        raise OSError("of its own")
