"""Pykka's threaded actors, in one process: `one_way` or `ask`."""

import json
import sys
import time

import pykka

COUNT = 200_000


class Actor(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message):
        self.count += 1
        return self.count


def main(scenario: str) -> None:
    actor = Actor.start()
    count = COUNT // 4 if scenario == "ask" else COUNT
    started, cpu = time.perf_counter(), time.process_time()
    if scenario == "ask":
        for number in range(count):
            actor.ask(number)
    else:
        for number in range(count - 1):
            actor.tell(number)
        actor.ask(count)
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    actor.stop()
    print(
        json.dumps(
            {
                "messages": count,
                "per_second": count / elapsed_s,
                "cpu_us_per_message": cpu_s / count * 1e6,
            }
        )
    )


main(sys.argv[1])
