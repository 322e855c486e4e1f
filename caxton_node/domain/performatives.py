"""The 22 communicative acts of FIPA and what each asks of its receiver.

Reference: FIPA SC00037J, Communicative Act Library.
"""

from enum import StrEnum
from typing import Final

__all__ = [
    "ANSWERABLE",
    "NEGATIVE",
    "Performative",
    "act_named",
    "parse_performative",
    "positive_reply",
    "reply_act",
]


class Performative(StrEnum):
    """A communicative act. The value is the spelling used on every output."""

    ACCEPT_PROPOSAL = "accept_proposal"
    AGREE = "agree"
    CANCEL = "cancel"
    CFP = "cfp"
    CONFIRM = "confirm"
    DISCONFIRM = "disconfirm"
    FAILURE = "failure"
    INFORM = "inform"
    INFORM_IF = "inform_if"
    INFORM_REF = "inform_ref"
    NOT_UNDERSTOOD = "not_understood"
    PROPAGATE = "propagate"
    PROPOSE = "propose"
    PROXY = "proxy"
    QUERY_IF = "query_if"
    QUERY_REF = "query_ref"
    REFUSE = "refuse"
    REJECT_PROPOSAL = "reject_proposal"
    REQUEST = "request"
    REQUEST_WHEN = "request_when"
    REQUEST_WHENEVER = "request_whenever"
    SUBSCRIBE = "subscribe"


_SPELLINGS: Final[dict[str, Performative]] = {act.value: act for act in Performative} | {
    "query": Performative.QUERY_REF,
    "call_for_proposal": Performative.CFP,
}

ANSWERABLE: Final = frozenset(
    {
        Performative.ACCEPT_PROPOSAL,
        Performative.CFP,
        Performative.PROPOSE,
        Performative.PROXY,
        Performative.QUERY_IF,
        Performative.QUERY_REF,
        Performative.REQUEST,
        Performative.REQUEST_WHEN,
        Performative.REQUEST_WHENEVER,
        Performative.SUBSCRIBE,
    }
)
"""Acts whose sender waits for an answer. The rest are told, not asked."""

NEGATIVE: Final = frozenset(
    {Performative.FAILURE, Performative.NOT_UNDERSTOOD, Performative.REFUSE}
)
"""Acts that say no. They are never answered, so that two agents cannot fail at each other."""


def parse_performative(text: str) -> Performative | None:
    """Return the act that `text` names in any case and with `-`, `_` or spaces, or None."""
    direct = _SPELLINGS.get(text)
    if direct is not None:
        return direct
    return _SPELLINGS.get(text.strip().lower().replace("-", "_").replace(" ", "_"))


def act_named(act: str) -> Performative:
    """Return the act that an agent's code names: the act itself, or any spelling of it.

    Raises:
        ValueError: There is no such act.
    """
    if isinstance(act, Performative):
        return act
    found = parse_performative(act)
    if found is None:
        raise ValueError(f"{act!r} is not a performative")
    return found


_INFORM: Final = Performative.INFORM
_POSITIVE_REPLIES: Final = {
    Performative.CFP: Performative.PROPOSE,
    Performative.PROPOSE: Performative.ACCEPT_PROPOSAL,
    Performative.SUBSCRIBE: Performative.AGREE,
}


def positive_reply(act: Performative) -> Performative:
    """Return the act of an answer that says yes to `act`, when the agent names none itself."""
    return _POSITIVE_REPLIES.get(act, _INFORM)


def reply_act(asked: Performative, wanted: Performative | None) -> Performative:
    """Return the act of an answer: what the agent wanted, where it may be an answer at all.

    An answer that asks back would be answered in turn, for ever. Only the steps of a contract
    net ask and answer at once, and those end: a call is answered by a proposal, a proposal by
    its acceptance. Anything else that asks becomes the plain positive answer.
    """
    if wanted is None:
        return positive_reply(asked)
    if wanted in ANSWERABLE and wanted is not positive_reply(asked):
        return positive_reply(asked)
    return wanted
