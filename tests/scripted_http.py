"""A real HTTP server on loopback that answers as it was told, for tests of clients."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass
class Received:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Script:
    """What is answered to what, and what was asked."""

    url: str = ""
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    """What `hold` waits for."""

    def on(self, method: str, path: str, document: Any, *, status: int = 200, **more: Any) -> None:
        """Answer with JSON; bytes are sent as they are. `media_type` in `more`."""
        self.answers[method, path] = (status, document, more)

    def call(self, method: str, path: str, answer: Callable[[BaseHTTPRequestHandler], None]):
        """Let a function answer."""
        self.answers[method, path] = answer

    def problem(self, method: str, path: str, code: str, status: int, **more: Any) -> None:
        """Answer with a problem document."""
        document = {"type": f"urn:caxton:error:{code}", "status": status, "code": code, **more}
        self.on(method, path, document, status=status, media_type="application/problem+json")

    def events(self, method: str, path: str, *events: tuple[str, Any]) -> None:
        """Answer with server-sent events, each in a chunk of its own."""
        text = [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events]
        self.on(method, path, [": hello\n\n", *text], media_type="text/event-stream")


@contextmanager
def scripted_http() -> Iterator[Script]:
    """Serve a script on a free port of loopback."""
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self) -> None:
            url = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(data) if data else None
            query = dict(parse_qsl(url.query))
            received = Received(self.command, url.path, query, dict(self.headers), body)
            script.received.append(received)
            answer = script.answers.get((self.command, url.path))
            if answer is None:
                answer = (404, {"code": "route_not_found", "detail": self.path}, {})
            if callable(answer):
                answer(self)
                return
            self.send(*answer)

        def send(self, status: int, document: Any, more: dict[str, Any]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", more.get("media_type", "application/json"))
            if isinstance(document, list) and "media_type" in more:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in document:
                    self.chunk(piece.encode())
                self.chunk(b"")
                return
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            data = b"" if document is None else data
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def chunk(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the library's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.may_answer.set()
        server.shutdown()
        thread.join(5)
        server.server_close()
