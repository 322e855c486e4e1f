"""Who may call a tool is decided on values, and fails closed."""

import pytest

from caxton_node.domain.agent import PermissionSettings
from caxton_node.tools.permissions import Permitted, Refused, decide_permission


def decide(tool, *, listed=("echo", "file_storage"), approvals=()):
    return decide_permission(
        tool, agent="A", listed=listed, permissions=PermissionSettings(approvals=approvals)
    )


def test_a_listed_tool_is_permitted():
    assert decide("echo") == Permitted()


def test_a_tool_that_the_file_does_not_list_is_refused():
    verdict = decide("http_client")
    assert isinstance(verdict, Refused)
    assert verdict.error().code == "tool_denied"
    assert verdict.error().facts == {"tool": "http_client"}


@pytest.mark.parametrize("entry", ["file_storage", "file_*", "*", "File_Storage", " file_storage "])
def test_a_tool_that_needs_approval_is_refused(entry):
    assert isinstance(decide("file_storage", approvals=(entry,)), Refused)


@pytest.mark.parametrize("entry", ["file", "file_storage2", "echo*x", ""])
def test_other_entries_do_not_stop_it(entry):
    assert decide("file_storage", approvals=(entry,)) == Permitted()
