"""SPADE: two agents in two processes over the XMPP server that it brings.

one_way     sent without waiting, the last one answered with the count
ask, ask64  sent and answered, with one and with 64 under way
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import pair
import spade
from spade.behaviour import CyclicBehaviour
from spade.message import Message

ONE_WAY = 3_000
ASKS = 500
ASKS_64 = 3_000
TEXT = pair.BODY.decode()


class Answer(CyclicBehaviour):
    seen = 0

    async def run(self):
        message = await self.receive(timeout=10)
        if message is None:
            return
        Answer.seen += 1
        kind = message.get_metadata("kind")
        if kind == "tell":
            return
        reply = message.make_reply()
        reply.body = message.body if kind == "ask" else str(Answer.seen)
        await self.send(reply)


class Ask(CyclicBehaviour):
    def __init__(self, scenario):
        super().__init__()
        self.scenario = scenario
        self.waiting = {}
        self.number = 0

    def message(self, kind):
        self.number += 1
        message = Message(to="receiver@127.0.0.1", body=TEXT, thread=str(self.number))
        message.set_metadata("kind", kind)
        return message

    async def ask(self, kind="ask"):
        message = self.message(kind)
        future = self.waiting[message.thread] = asyncio.get_running_loop().create_future()
        await self.send(message)
        return await future

    async def run(self):
        async with asyncio.TaskGroup() as tasks:
            answers = tasks.create_task(self.listen())
            await self.measure()
            answers.cancel()
        self.agent.over.set()
        self.kill()

    async def measure(self):
        while True:
            try:
                await asyncio.wait_for(self.ask(), 1)
                break
            except TimeoutError:
                continue
        if self.scenario == "one_way":
            started = time.perf_counter()
            for _ in range(ONE_WAY - 1):
                await self.send(self.message("tell"))
            await self.ask("last")
            pair.print_rate(ONE_WAY, time.perf_counter() - started)
        else:
            many = self.scenario == "ask64"
            pair.print_answers(
                *await pair.ask_many(
                    self.ask, count=ASKS_64 if many else ASKS, at_once=64 if many else 1
                )
            )

    async def listen(self):
        while True:
            message = await self.receive(timeout=10)
            if message is not None and message.thread in self.waiting:
                future = self.waiting.pop(message.thread)
                if not future.done():
                    future.set_result(message.body)


async def agent(name, port, behaviour):
    made = spade.agent.Agent(f"{name}@127.0.0.1", "secret", port=port, verify_security=False)
    made.over = asyncio.Event()
    await made.start(auto_register=True)
    made.add_behaviour(behaviour)
    return made


async def receive(port):
    await agent("receiver", port, Answer())
    await asyncio.sleep(120)


async def send(port, scenario):
    asking = await agent("sender", port, Ask(scenario))
    await asking.over.wait()
    await asking.stop()


def server(port):
    program = str(Path(sys.executable).parent / "spade")
    ports = ["--client_port", str(port), "--server_port", str(pair.free_port())]
    return [program, "run", "--host", "127.0.0.1", *ports, "--memory"]


def main():
    match sys.argv[1]:
        case "--receiver":
            asyncio.run(receive(int(sys.argv[2])))
        case scenario:
            port = pair.free_port()
            pair.pin_sender()
            with (
                tempfile.TemporaryDirectory(prefix="spade-bench-") as folder,
                pair.child(server(port), cwd=folder),
            ):
                pair.wait_for_port(port)
                with pair.receiver(__file__, str(port)):
                    asyncio.run(asyncio.wait_for(send(port, scenario), 100))


main()
