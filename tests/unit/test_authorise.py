"""Who may talk to an agent."""

import pytest

from caxton_node.domain.agent import PermissionSettings
from caxton_node.domain.errors import Denied
from caxton_node.routing.authorise import authorise, may_send


@pytest.mark.parametrize(
    ("senders", "sender", "is_allowed"),
    [
        ((), "anyone", True),
        (("billing",), "billing", True),
        (("billing",), "billing2", False),
        (("team-*",), "team-red", True),
        (("team-*",), "other", False),
        (("*",), "anyone", True),
    ],
)
def test_the_list_of_senders_decides(senders, sender, is_allowed):
    assert may_send(sender, PermissionSettings(senders=senders)) is is_allowed


def test_a_stranger_is_denied_by_name():
    with pytest.raises(Denied, match="'safe' takes no messages from 'mallory'"):
        authorise("mallory", "safe", PermissionSettings(senders=("alice",)))
