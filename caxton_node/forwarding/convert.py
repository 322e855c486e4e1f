"""Frames of a link ⇄ protobuf, bodies → messages of the domain: the only place of both."""

from collections.abc import Iterable

import msgspec

from caxton.v1.peer_pb2 import LinkChunk, LinkFrame, LinkMessages
from caxton_node.domain.message import decode_message
from caxton_node.forwarding.machine import Hello
from caxton_node.forwarding.outbox import Frame, Outcomes, Parcel
from caxton_node.routing.arrivals import Arrival

__all__ = ["arrival_of", "arrivals_of", "fill_frame", "fill_hello", "hello_of"]


def fill_hello(frame: LinkFrame, hello: Hello) -> None:
    """Write a greeting into a frame."""
    frame.hello.node_id = hello.node
    frame.hello.epoch = hello.epoch
    frame.hello.cluster = hello.cluster
    frame.hello.link_version = hello.link_version
    frame.hello.program_version = hello.program_version
    frame.hello.peer_epoch = hello.peer_epoch
    frame.hello.received_through = hello.received_through
    frame.hello.journal = hello.journal


def hello_of(frame: LinkFrame) -> Hello | None:
    """Return the greeting in a frame, or None."""
    if not frame.HasField("hello"):
        return None
    hello = frame.hello
    return Hello(
        node=hello.node_id,
        epoch=hello.epoch,
        cluster=hello.cluster,
        link_version=hello.link_version,
        program_version=hello.program_version,
        peer_epoch=hello.peer_epoch,
        received_through=hello.received_through,
        journal=hello.journal,
    )


def fill_frame(frame: LinkFrame, content: Frame) -> None:
    """Write what must arrive into a frame."""
    frame.number = content.number
    if content.parcels:
        _fill_messages(frame.messages, content.parcels)
    if content.part is not None:
        frame.chunk.part = content.part
        if content.last_of is not None:
            parcel = content.last_of
            frame.chunk.is_last = True
            frame.chunk.sequence = parcel.sequence
            frame.chunk.is_doubtful = parcel.is_doubtful
            frame.chunk.is_revived = parcel.is_revived
            if parcel.agent is not None:
                frame.chunk.agent = parcel.agent
    if content.outcomes is not None:
        _fill_outcomes(frame, content.outcomes)


def _fill_messages(messages: LinkMessages, parcels: Iterable[Parcel]) -> None:
    bodies, doubtful, revived = [], [], []
    for index, parcel in enumerate(parcels):
        if not index:
            messages.first_sequence = parcel.sequence
        bodies.append(parcel.body)
        if parcel.agent is not None:
            messages.agents[index] = parcel.agent
        if parcel.is_doubtful:
            doubtful.append(index)
            if parcel.is_revived:
                revived.append(index)
    messages.bodies.extend(bodies)
    if doubtful:
        messages.doubtful.extend(doubtful)
        messages.revived.extend(revived)


def _fill_outcomes(frame: LinkFrame, outcomes: Outcomes) -> None:
    frame.outcomes.delivered.extend(outcomes.delivered)
    for sequence, status, reason in outcomes.ended:
        frame.outcomes.ended.add(sequence=sequence, status=status, reason=reason)
    for sequence, code, detail in outcomes.refused:
        frame.outcomes.refused.add(sequence=sequence, code=code, detail=detail)


def arrivals_of(messages: LinkMessages) -> tuple[list[Arrival], list[int]]:
    """Return the messages of a frame, and the numbers of those that cannot be read."""
    sequence = messages.first_sequence
    arrivals: list[Arrival] = []
    unreadable: list[int] = []
    for number, body in enumerate(messages.bodies, sequence):
        try:
            arrivals.append(Arrival(decode_message(body), number, None, False, False, body))
        except msgspec.DecodeError:
            unreadable.append(number)
    if messages.agents or messages.doubtful:
        by_number = {arrival.sequence: arrival for arrival in arrivals}
        for index, agent in messages.agents.items():
            if sequence + index in by_number:
                by_number[sequence + index].agent = agent
        for index in messages.doubtful:
            if sequence + index in by_number:
                by_number[sequence + index].is_doubtful = True
        for index in messages.revived:
            if sequence + index in by_number:
                by_number[sequence + index].is_revived = True
    return arrivals, unreadable


def arrival_of(body: bytes, chunk: LinkChunk) -> Arrival | None:
    """Return a large message that is complete with its last part, or None for an unreadable one."""
    try:
        message = decode_message(body)
    except msgspec.DecodeError:
        return None
    agent = chunk.agent if chunk.HasField("agent") else None
    return Arrival(message, chunk.sequence, agent, chunk.is_doubtful, chunk.is_revived, body)
