"""AutoGen core's single-threaded runtime, in one process.

`one_way` publishes to a topic that one agent subscribes to; `send` awaits 64 direct messages at a
time; `ask` awaits one answer after the other.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass

from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)

COUNT = 20_000


@dataclass
class Number:
    value: int


class Tally:
    """Not kept in a class: to set an attribute of one makes Python forget what it learnt of it."""

    def __init__(self) -> None:
        self.count = 0


TALLY = Tally()


class Agent(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("sink")
        self.tally = TALLY

    @message_handler
    async def handle(self, message: Number, ctx: MessageContext) -> Number:
        self.tally.count += 1
        return message


async def main(scenario: str) -> None:
    runtime = SingleThreadedAgentRuntime()
    await Agent.register(runtime, "agent", Agent)
    await runtime.add_subscription(TypeSubscription("numbers", "agent"))
    runtime.start()
    target = AgentId("agent", "default")
    started, cpu = time.perf_counter(), time.process_time()
    match scenario:
        case "ask":
            for number in range(COUNT // 4):
                await runtime.send_message(Number(number), target)
        case "send":
            for begin in range(0, COUNT, 64):
                batch = range(begin, min(begin + 64, COUNT))
                await asyncio.gather(*(runtime.send_message(Number(n), target) for n in batch))
        case _:
            topic = TopicId("numbers", "default")
            for number in range(COUNT):
                await runtime.publish_message(Number(number), topic)
            await runtime.stop_when_idle()
    count = TALLY.count
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    if scenario != "one_way":
        await runtime.stop()
    print(
        json.dumps(
            {
                "messages": count,
                "per_second": count / elapsed_s,
                "cpu_us_per_message": cpu_s / count * 1e6,
            }
        )
    )


asyncio.run(main(sys.argv[1]))
