"""Serf's protocol above ours, thin: tags, intents, user events, key queries.

With it `serf members` lists our nodes with their tags, a graceful leave shows as *left* and not
as *failed*, user events go both ways, and `serf keys` rotates our keys too. Queries are
acknowledged; of their contents only those about keys are answered, and only such are asked.

What is heard for the first time is passed on once, what was heard before is dropped, so that no
message circles. The clock is moved before anything is decided.

Reference: HashiCorp serf, serf/serf.go, delegate.go, internal_query.go.
"""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from caxton_cluster.errors import ClusterError, KeyRejected, MalformedPacket, MetadataTooLarge
from caxton_cluster.overlay import Action, Publish, Spread, Tell
from caxton_cluster.serf.lamport import LamportClock
from caxton_cluster.serf.messages import (
    QUERY_IS_NOT_SPREAD,
    QUERY_WANTS_ACK,
    JoinIntent,
    KeyAnswer,
    LeaveIntent,
    Query,
    QueryResponse,
    State,
    UserEvent,
    decode_key_answer,
    decode_key_request,
    decode_serf,
    encode_serf,
    pack_names,
)
from caxton_cluster.swim.events import (
    Event,
    MemberFailed,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    UserMessage,
    UserState,
)
from caxton_cluster.swim.secrecy import KeyRing
from caxton_cluster.swim.wire.packing import unpack
from caxton_cluster.types import Address, Versions

__all__ = ["SERF_VERSIONS", "KeyOperation", "SerfAnswer", "SerfOverlay", "SerfUserEvent"]

SERF_VERSIONS: Final = Versions(1, 5, 2, 2, 5, 5)
"""Delegate versions 2 to 5, speaking 5, as the serf agent does."""

USER_EVENT_SIZE_BYTES_MAX: Final = 512
"""Name and payload of an event of ours; serf agents refuse longer ones by default."""

SEEN_MAX: Final = 512
"""Events and queries remembered, so that each is passed on once."""

FILTER_SIZE_BYTES_MAX: Final = 512
"""Longest list of names in a question of ours: it must fit a datagram with the rest."""

QUESTIONS_MAX: Final = 16
"""Questions of ours whose answers are still heard."""

STATUS_MAX: Final = 8192
"""Members whose last intent is remembered."""


@dataclass(frozen=True, slots=True)
class SerfUserEvent:
    """A user event, ours or another member's."""

    name: str
    payload: bytes
    time: int


class KeyOperation(StrEnum):
    """What can be asked of a member's key ring: the names of serf's queries."""

    INSTALL = "_serf_install-key"
    USE = "_serf_use-key"
    REMOVE = "_serf_remove-key"
    LIST = "_serf_list-keys"


@dataclass(frozen=True, slots=True)
class SerfAnswer:
    """A member's answer to a question of ours, ourselves included."""

    question: int
    responder: str
    answer: KeyAnswer


class SerfOverlay:
    """One node's part in serf's protocol.

    Args:
        name: Our member name.
        key_ring: The ring that key queries change, if any.
    """

    def __init__(self, name: str, key_ring: KeyRing | None = None) -> None:
        self._name = name
        self._key_ring = key_ring
        self._members = LamportClock()
        self._events = LamportClock()
        self._queries = LamportClock()
        self._event_time_min = 0
        self._status_times: OrderedDict[str, int] = OrderedDict()
        self._known = {name: None}
        self._left: dict[str, None] = {}
        self._recent: OrderedDict[UserEvent, None] = OrderedDict()
        self._asked: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._questions: OrderedDict[int, None] = OrderedDict()
        self._is_leaving = False
        self.malformed_count = 0

    @property
    def versions(self) -> Versions:
        """What to announce in a ring of serf agents."""
        return SERF_VERSIONS

    def user_state(self, is_join: bool, /) -> bytes:  # noqa: ARG002 - the Protocol's
        """Return our clocks and intents for a push/pull."""
        state = State(
            time=self._members.time,
            status_times=tuple(
                (name, time) for name, time in self._status_times.items() if name in self._known
            ),
            left=tuple(self._left),
            event_time=self._events.time,
            query_time=self._queries.time,
            events=tuple(self._recent),
        )
        return encode_serf(state)

    def joined(self) -> list[Action]:
        """Say that we mean to be a member, perhaps again."""
        self._is_leaving = False
        time = self._members.stamp()
        self._note_status(self._name, time)
        return [Spread(encode_serf(JoinIntent(time, self._name)))]

    def leaving(self) -> list[Action]:
        """Say that we are about to leave."""
        self._is_leaving = True
        time = self._members.stamp()
        self._note_status(self._name, time)
        return [Spread(encode_serf(LeaveIntent(time, self._name)))]

    def send_event(self, name: str, payload: bytes, *, coalesces: bool = False) -> list[Action]:
        """Send a user event to everyone, ourselves included.

        Raises:
            MetadataTooLarge: Name and payload have more than 512 bytes together.
        """
        size_bytes = len(name.encode()) + len(payload)
        if size_bytes > USER_EVENT_SIZE_BYTES_MAX:
            raise MetadataTooLarge("the user event", size_bytes, USER_EVENT_SIZE_BYTES_MAX)
        event = UserEvent(self._events.stamp(), name, payload, coalesces)
        return self._hear_event(event)

    def hear(self, event: Event, /) -> list[Action]:
        """Take in what the machine publishes."""
        try:
            match event:
                case UserMessage(payload):
                    return self._hear_message(payload)
                case UserState(payload, is_join):
                    return self._hear_state(payload, is_join=is_join)
                case MemberLeft(member):
                    self._left[member.name] = None
                case MemberJoined(member) | MemberFailed(member):
                    self._known[member.name] = None
                    self._left.pop(member.name, None)
                    self._note_status(member.name, 0)
                case MemberForgotten(name):
                    self._forget(name)
                case _:
                    return []
        except MalformedPacket:
            self.malformed_count += 1
        return []

    def _hear_message(self, payload: bytes) -> list[Action]:
        message = decode_serf(payload)
        match message:
            case LeaveIntent(time, node):
                return self._hear_leave(time, node, payload)
            case JoinIntent(time, node):
                self._members.witness(time)
                is_new = self._note_status(node, time)
                return [Spread(payload)] if is_new else []
            case UserEvent():
                return self._hear_event(message)
            case Query():
                return self._hear_query(message, payload)
            case QueryResponse(_, question, responder, content, is_ack):
                if is_ack or question not in self._questions:
                    return []
                answer = decode_key_answer(content)
                return [Publish(SerfAnswer(question, responder, answer))]
            case _:
                return []

    def _hear_leave(self, time: int, node: str, payload: bytes) -> list[Action]:
        self._members.witness(time)
        if node == self._name and not self._is_leaving:
            return self._contradict(time)
        is_new = self._note_status(node, time)
        return [Spread(payload)] if is_new else []

    def _hear_event(self, event: UserEvent) -> list[Action]:
        self._events.witness(event.time)
        is_ancient = event.time + SEEN_MAX < self._events.time
        if event in self._recent or is_ancient or event.time < self._event_time_min:
            return []
        self._recent[event] = None
        if len(self._recent) > SEEN_MAX:
            self._recent.popitem(last=False)
        published = SerfUserEvent(event.name, event.payload, event.time)
        return [Publish(published), Spread(encode_serf(event))]

    def _hear_state(self, payload: bytes, *, is_join: bool) -> list[Action]:
        state = decode_serf(payload)
        if not isinstance(state, State):
            raise MalformedPacket("the state of a push/pull is no serf state")
        # Theirs is the next time to be used, so what they have seen is one less.
        self._members.witness(state.time - 1)
        self._events.witness(state.event_time - 1)
        self._queries.witness(state.query_time - 1)
        left = set(state.left)
        actions: list[Action] = []
        for name, time in state.status_times:
            if name == self._name and name in left and not self._is_leaving:
                actions += self._contradict(time)
            elif name in self._known:
                # Of others they know and we do not: let nobody be remembered for ever in turns.
                self._note_status(name, time)
        if is_join:
            # What happened before we came is not news.
            self._event_time_min = max(self._event_time_min, state.event_time)
            return actions
        for event in state.events:
            actions += self._hear_event(event)
        return actions

    def _contradict(self, time: int) -> list[Action]:
        """Say that we are still here, unless we said so since the leave that is told of us."""
        return self.joined() if time > self._status_times.get(self._name, -1) else []

    def _forget(self, name: str) -> None:
        # Or whoever was ever here would travel with every exchange of tables.
        self._known.pop(name, None)
        self._left.pop(name, None)
        self._status_times.pop(name, None)

    def _note_status(self, name: str, time: int) -> bool:
        """Remember the newest intent of `name`; return whether it was news."""
        if time <= self._status_times.get(name, -1):
            return False
        self._status_times[name] = time
        if len(self._status_times) > STATUS_MAX:
            self._status_times.popitem(last=False)
        return True

    # Queries.

    def ask(
        self,
        question: int,
        operation: KeyOperation,
        payload: bytes,
        own: Address,
        *,
        only: Sequence[str] = (),
    ) -> list[Action]:
        """Ask everyone about their keys; answers are published as `SerfAnswer`.

        Args:
            question: A number that no other question has.
            operation: What to do.
            payload: The request with its key, if it is about one.
            own: Where answers go to.
            only: Members to ask, or nobody for all. Too many to name are all asked.
        """
        names = pack_names(only) if only else b""
        filters = (names,) if 0 < len(names) <= FILTER_SIZE_BYTES_MAX else ()
        time = self._queries.stamp()
        query = Query(time, question, own, 0, operation, payload, filters, self._name)
        self._asked[time, question] = None
        self._questions[question] = None
        while len(self._questions) > QUESTIONS_MAX:
            self._questions.popitem(last=False)
        actions: list[Action] = [Spread(encode_serf(query))]
        answer = self._answer(query)
        if answer is not None and (not only or self._name in only):
            actions.append(Publish(SerfAnswer(question, self._name, answer)))
        return actions

    def _hear_query(self, query: Query, payload: bytes) -> list[Action]:
        self._queries.witness(query.time)
        key = (query.time, query.id)
        if key in self._asked or query.time + SEEN_MAX < self._queries.time:
            return []
        self._asked[key] = None
        if len(self._asked) > SEEN_MAX:
            self._asked.popitem(last=False)
        actions: list[Action] = []
        if not query.flags & QUERY_IS_NOT_SPREAD:
            actions.append(Spread(payload))
        if not all(self._passes(one) for one in query.filters):
            return actions
        if query.flags & QUERY_WANTS_ACK:
            ack = QueryResponse(query.time, query.id, self._name, b"", is_ack=True)
            actions.append(Tell(encode_serf(ack), query.asker))
        answer = self._answer(query)
        if answer is not None:
            response = QueryResponse(query.time, query.id, self._name, encode_serf(answer))
            actions.append(Tell(encode_serf(response), query.asker))
        return actions

    def _passes(self, rule: bytes) -> bool:
        """Return whether a filter lets us answer. Filters by tag are not understood: silence."""
        if rule[:1] != b"\x00":
            return False
        names = unpack(b"\x81\xa1n" + rule[1:]).get(b"n")
        return isinstance(names, list) and self._name.encode() in names

    def _answer(self, query: Query) -> KeyAnswer | None:
        operations: dict[str, Callable[[KeyRing, bytes], None]] = {
            KeyOperation.INSTALL: KeyRing.install,
            KeyOperation.USE: KeyRing.use,
            KeyOperation.REMOVE: KeyRing.remove,
        }
        operation = operations.get(query.name)
        if operation is None and query.name != KeyOperation.LIST:
            return None
        if self._key_ring is None:
            return KeyAnswer(is_done=False, text="encryption is not in use here")
        try:
            if operation is not None:
                operation(self._key_ring, decode_key_request(query.payload))
        except KeyRejected as error:
            return KeyAnswer(is_done=False, text=str(error))
        except ClusterError as error:
            return KeyAnswer(is_done=False, text=f"unreadable request: {error}")
        if operation is not None:
            return KeyAnswer(is_done=True)
        texts = tuple(b64encode(key) for key in self._key_ring.keys)
        return KeyAnswer(is_done=True, keys=texts, primary=texts[0])
