"""AutoGen's distributed runtime: a host, a worker that asks, a worker that answers, over gRPC.

one_way     published to a topic that an agent of the other worker subscribes to
ask, ask64  messages sent and awaited, with one and with 64 under way
"""

import asyncio
import sys
import time
from dataclasses import dataclass

import pair
from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
    try_get_known_serializers_for_type,
)
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost

ONE_WAY = 5_000
ASKS = 500
ASKS_64 = 5_000


@dataclass
class Text:
    value: str


@dataclass
class Done:
    seen: int


class Receiver(RoutedAgent):
    seen = 0

    def __init__(self) -> None:
        super().__init__("receiver")

    @message_handler
    async def handle(self, message: Text, ctx: MessageContext) -> Text:
        Receiver.seen += 1
        if message.value == "last":
            await self.publish_message(Done(Receiver.seen), TopicId("done", "default"))
        return message


class Waiter(RoutedAgent):
    done: asyncio.Future[int]

    def __init__(self) -> None:
        super().__init__("waiter")

    @message_handler
    async def handle(self, message: Done, ctx: MessageContext) -> None:
        Waiter.done.set_result(message.seen)


async def worker(port):
    runtime = GrpcWorkerAgentRuntime(host_address=f"127.0.0.1:{port}")
    for kind in (Text, Done):
        runtime.add_message_serializer(try_get_known_serializers_for_type(kind))
    await runtime.start()
    return runtime


async def receive(port):
    runtime = await worker(port)
    await Receiver.register(runtime, "receiver", Receiver)
    await runtime.add_subscription(TypeSubscription("numbers", "receiver"))
    await asyncio.sleep(120)


async def host(port):
    server = GrpcWorkerAgentRuntimeHost(address=f"127.0.0.1:{port}")
    server.start()
    await asyncio.sleep(200)


async def send(port, scenario):
    runtime = await worker(port)
    Waiter.done = asyncio.get_running_loop().create_future()
    await Waiter.register(runtime, "waiter", Waiter)
    await runtime.add_subscription(TypeSubscription("done", "waiter"))
    target, text = AgentId("receiver", "default"), pair.BODY.decode()
    while True:
        try:
            await asyncio.wait_for(runtime.send_message(Text(text), target), 5)
            break
        except Exception:
            await asyncio.sleep(0.2)
    if scenario == "one_way":
        topic = TopicId("numbers", "default")
        started = time.perf_counter()
        for _ in range(ONE_WAY - 1):
            await runtime.publish_message(Text(text), topic)
        await runtime.publish_message(Text("last"), topic)
        await asyncio.wait_for(Waiter.done, 80)
        pair.print_rate(ONE_WAY, time.perf_counter() - started)
    else:
        many = scenario == "ask64"

        async def ask():
            await runtime.send_message(Text(text), target)

        pair.print_answers(
            *await pair.ask_many(ask, count=ASKS_64 if many else ASKS, at_once=64 if many else 1)
        )
    await runtime.stop()


def main():
    match sys.argv[1]:
        case "--receiver":
            asyncio.run(receive(sys.argv[2]))
        case "--host":
            asyncio.run(host(sys.argv[2]))
        case scenario:
            port = pair.free_port()
            pair.pin_sender()
            with pair.child([sys.executable, __file__, "--host", str(port)]):
                pair.wait_for_port(port)
                with pair.receiver(__file__, str(port)):
                    asyncio.run(asyncio.wait_for(send(port, scenario), 100))


main()
