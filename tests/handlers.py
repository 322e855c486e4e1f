"""Agents written in Python that tests deploy."""

import asyncio
import os
import time
from pathlib import Path

from caxton_node.domain.errors import Denied, Failed
from caxton_node.domain.performatives import Performative
from caxton_node.runtime.agent import Reply


class Echo:
    """Says what it hears."""

    def __init__(self, parameters):
        self.prefix = parameters.get("prefix", "")

    async def handle(self, message, context):
        body = message.body()
        return f"{self.prefix}{body}" if self.prefix else body


class Counter:
    """Counts what it hears, until it crashes on the word `crash`."""

    def __init__(self, parameters):
        self.count = 0

    async def handle(self, message, context):
        if message.body() == "crash":
            raise ValueError("a bug in the agent")
        self.count += 1
        return self.count


class Flaky:
    """Fails as often as the message says, then answers with the number of the attempt."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        if context.attempt <= message.body():
            raise Failed("model_failed", "not yet")
        return context.attempt


class Refuser:
    """May not do it."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        raise Denied("denied", "not for you")


class Gate:
    """Takes turns one by one, when the test opens the gate."""

    entered = None
    opened = None
    seen = None

    @classmethod
    def close(cls):
        cls.entered = asyncio.Event()
        cls.opened = asyncio.Event()
        cls.seen = []

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        self.seen.append(message.body())
        context.keep_partial("half done")
        self.entered.set()
        await self.opened.wait()
        return message.body()


class Asker:
    """Asks whoever offers `test` and passes the answer on."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        answer = await context.ask(capability="test", content=message.body(), timeout_s=5)
        return {"act": answer.performative.value, "said": answer.body()}


class Recursive:
    """Asks an agent of its own kind for ever."""

    def __init__(self, parameters):
        self.other = parameters["other"]

    async def handle(self, message, context):
        answer = await context.ask(receiver=self.other, content="again", timeout_s=5)
        if answer.performative is Performative.FAILURE:
            return Reply(answer.body(), Performative.FAILURE)
        return answer.body()


class Teller:
    """Tells every word of its message to `listener`."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        return [await context.tell(receiver="listener", content=w) for w in message.body().split()]


class TooLong:
    """Answers with more than a message carries."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        return "x" * 1_000_001


class NotJson:
    """Answers with what has no JSON form."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        return object()


class WaitsForFile:
    """Answers once a file exists: a test's way to hold turns of another process."""

    def __init__(self, parameters):
        self.path = Path(parameters["path"])

    async def handle(self, message, context):
        while not await asyncio.to_thread(self.path.exists):
            await asyncio.sleep(0.01)
        return message.body()


class Silent:
    """Does its work and says nothing."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        return None


class Misbehaves:
    """Breaks in the way that the message names; answers `fine` otherwise."""

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        match message.body():
            case "cycle":
                loop = []
                loop.append(loop)
                return loop
            case "metadata":
                return Reply("x", metadata={"a": object()})
            case "surrogate":
                raise OSError("no such file \udce4")
            case "exit":
                raise SystemExit(3)
            case "cancelled within":
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            case "act":
                return Reply("x", "nonsense")
        return "fine"


class Stubborn:
    """Does not listen when it is told to end, until the test lets it go."""

    entered = None
    let_go = None

    @classmethod
    def prepare(cls):
        cls.entered = asyncio.Event()
        cls.let_go = asyncio.Event()

    def __init__(self, parameters):
        pass

    async def handle(self, message, context):
        self.entered.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        return "late"


class WritesDown:
    """Writes down each turn that it takes, for the books of a run with faults."""

    def __init__(self, parameters):
        self.path = parameters["path"]
        self.pause_s = parameters["pause_s"]
        self.node = os.environ.get("LEDGER_NODE", "-")

    async def handle(self, message, context):
        self.write_down(message)
        await asyncio.sleep(self.pause_s)
        return message.body()

    def write_down(self, message):
        line = f"{time.monotonic_ns()} {message.id} {self.node}\n"
        # One write at the end of the file is whole, whoever else writes.
        with open(self.path, "ab", buffering=0) as file:
            file.write(line.encode())
