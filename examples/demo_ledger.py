"""Two thousand messages, a node killed in the middle, and the books of what became of each."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

MESSAGES = 2_000
CONVERSATIONS = 20
BATCH = 50
KILL_AFTER = 600
SETTLE_TIMEOUT_S = 60.0
ENDS = {"answered", "delivered", "dead", "expired", "cancelled"}


def call(url: str, body: object = None) -> dict[str, Any]:
    """Ask a node for a JSON document, or send it one."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"})
    with urlopen(request, timeout=20) as response:
        found: dict[str, Any] = json.load(response)
        return found


def asks(message_id: str) -> bool:
    """Return whether a message asks for an answer: every other one does."""
    return int(message_id.rsplit("-", 1)[1]) % 2 == 1


def message(number: int, agent: str) -> dict[str, Any]:
    """Return message `number`, which asks for an answer or only tells."""
    return {
        "performative": "request" if asks(f"demo-{number}") else "inform",
        "receiver": agent,
        "content": 1_000_003 + 2 * number,
        "id": f"demo-{number}",
        "conversation_id": f"demo-{number % CONVERSATIONS}",
    }


def send_all(url: str, agent: str, *, kill: Callable[[], None]) -> list[str]:
    """Send the messages in batches, call `kill` on the way; return what was accepted."""
    accepted: list[str] = []
    is_killed = False
    for begin in range(0, MESSAGES, BATCH):
        waiting = [message(number, agent) for number in range(begin, begin + BATCH)]
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while waiting and time.monotonic() < deadline:
            items = call(f"{url}/api/v1/messages/batch", {"messages": waiting})["items"]
            accepted += [item["message_id"] for item in items if item["status"] != "refused"]
            # Busy, or nobody there for the moment: say it again, under the same id.
            waiting = [waiting[item["index"]] for item in items if item["status"] == "refused"]
            time.sleep(0.05 if waiting else 0.0)
        if waiting:
            sys.exit(f"{len(waiting)} messages were refused for {SETTLE_TIMEOUT_S:g} s")
        if len(accepted) >= KILL_AFTER and not is_killed:
            is_killed = True
            kill()
    return accepted


def close_books(url: str, accepted: list[str]) -> Counter[str]:
    """Wait until every accepted message has its end; return how many ended how."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        ends = _ends(url, accepted)
        if ends["unsettled"] == 0 or time.monotonic() > deadline:
            return ends
        time.sleep(0.3)


def _ends(url: str, accepted: list[str]) -> Counter[str]:
    status: dict[str, str] = {}
    answered: set[str] = set()
    for number in range(CONVERSATIONS):
        listed = f"{url}/api/v1/messages?conversation_id=demo-{number}&limit=1000"
        try:
            items = call(listed)["items"]
        except URLError:
            continue
        for item in items:
            one = item["message"]
            status[one["id"]] = item["status"]
            if one["in_reply_to"]:
                answered.add(one["in_reply_to"])
    ends: Counter[str] = Counter()
    for message_id in accepted:
        end = status.get(message_id, "unsettled")
        if end == "delivered" and asks(message_id):
            # Its answer is a message of its own, which may still be on its way.
            end = "answered" if message_id in answered else "unsettled"
        ends[end if end in ENDS else "unsettled"] += 1
    return ends


def run(url: str, agent: str, *, kill: Callable[[], None]) -> None:
    """Send, kill, and print the books; exit where they do not balance."""
    started = time.monotonic()
    accepted = send_all(url, agent, kill=kill)
    ends = close_books(url, accepted)
    parts = " + ".join(f"{ends[end]:,} {end}" for end in ("answered", "delivered", "dead"))
    print(f"\naccepted {len(accepted):,} = {parts}   ({time.monotonic() - started:.1f} s)")
    if len(accepted) != MESSAGES or sum(ends.values()) != MESSAGES or ends["unsettled"]:
        sys.exit(f"the books do not balance: {dict(ends)}")
    print("✓ nothing that was accepted is lost")
