"""A real Neo4j server on loopback, for tests: its libraries from Maven, run by the JDK here.

`python -m tests.neo4j_server` fetches the libraries (125 MB, once a checkout).
"""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.etcd_cluster import free_ports

ROOT = Path(__file__).parent.parent
POM = Path(__file__).parent / "engines" / "neo4j.xml"
LIBRARIES = ROOT / "build" / "neo4j-5.26"

FETCH_TIMEOUT_S = 240.0
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0

_OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")


def java() -> str | None:
    """A JDK that 5.26 runs on: 17 or 21."""
    homes = [Path(os.environ.get("JAVA_HOME", "/nowhere")), *Path("/usr/lib/jvm").glob("*-17-*")]
    homes += Path("/usr/lib/jvm").glob("*-21-*")
    found = [home / "bin" / "java" for home in homes if (home / "bin" / "java").exists()]
    return str(found[0]) if found else shutil.which("java")


def fetch() -> str | None:
    """Bring the libraries; return why that cannot be done, or None."""
    if (LIBRARIES / ".whole").exists():
        return None
    if shutil.which("mvn") is None:
        return "Maven is not installed, which brings Neo4j's server"
    LIBRARIES.parent.mkdir(parents=True, exist_ok=True)
    with LIBRARIES.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (LIBRARIES / ".whole").exists():
            return None
        done = subprocess.run(
            ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
             f"-DoutputDirectory={LIBRARIES}"],
            capture_output=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )  # fmt: skip
        if done.returncode:
            return "Neo4j's server could not be fetched: no Maven repository is within reach"
        (LIBRARIES / ".whole").touch()
    return None


def needed() -> None:
    """Skip the test, and say why, where Neo4j cannot run."""
    if java() is None:
        pytest.skip("Neo4j needs Java 17 or 21")
    why = fetch()
    if why is not None:
        pytest.skip(why)


@dataclass
class Neo4jServer:
    """One server process."""

    folder: Path
    password: str | None = None
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        conf = self.folder / "conf"
        conf.mkdir(parents=True, exist_ok=True)
        (conf / "neo4j.conf").write_text(
            f"dbms.security.auth_enabled={'false' if self.password is None else 'true'}\n"
            f"server.bolt.listen_address=127.0.0.1:{self.port}\n"
            "server.http.enabled=false\nserver.https.enabled=false\n"
            "server.memory.pagecache.size=64m\ndbms.usage_report.enabled=false\n"
            "db.tx_log.rotation.retention_policy=keep_none\n"
        )
        opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
        with (self.folder / "out.log").open("ab") as log:
            self.process = subprocess.Popen(
                [java(), "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                 *opened, "-cp", f"{LIBRARIES}/*", "org.neo4j.server.CommunityEntryPoint",
                 f"--home-dir={self.folder}", f"--config-dir={conf}"],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"Neo4j did not start: {(self.folder / 'out.log').read_text()[-2000:]}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)


@contextmanager
def neo4j_server(folder: Path):
    """A server that is ended with the block."""
    needed()
    server = Neo4jServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


if __name__ == "__main__":
    sys.exit(fetch())
