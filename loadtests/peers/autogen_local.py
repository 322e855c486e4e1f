"""AutoGen core's single-threaded runtime, in one process: `one_way` or `ask`."""

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
    message_handler,
)

COUNT = 20_000


@dataclass
class Number:
    value: int


class Agent(RoutedAgent):
    count = 0

    def __init__(self) -> None:
        super().__init__("sink")

    @message_handler
    async def handle(self, message: Number, ctx: MessageContext) -> Number:
        Agent.count += 1
        return message


async def main(scenario: str) -> None:
    runtime = SingleThreadedAgentRuntime()
    await Agent.register(runtime, "agent", Agent)
    runtime.start()
    target = AgentId("agent", "default")
    started, cpu = time.perf_counter(), time.process_time()
    if scenario == "ask":
        for number in range(COUNT // 4):
            await runtime.send_message(Number(number), target)
        count = COUNT // 4
    else:
        count = COUNT
        # What is sent is awaited together: the runtime's own way to have many under way.
        for begin in range(0, COUNT, 64):
            await asyncio.gather(
                *(runtime.send_message(Number(n), target) for n in range(begin, begin + 64))
            )
        count = Agent.count
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
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
