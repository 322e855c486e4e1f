"""What `caxton doctor` looks at: each check gives a finding and, for a bad one, what to do."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from caxton_node.cli.client import Client, path_of
from caxton_node.cli.daemon import refuse_taken_port
from caxton_node.cli.node_lock import lock_holder
from caxton_node.cli.node_options import Flags
from caxton_node.cli.node_settings import load, refuse_exposure
from caxton_node.cli.wording import counted
from caxton_node.config import LoadedSettings
from caxton_node.domain.errors import CaxtonError

__all__ = ["Finding", "local_findings", "server_findings"]

PYTHON_MIN: Final = (3, 11)

FREE_BYTES_MIN: Final = 500_000_000
"""Below this, a busy node fills the disk within the day."""

DEAD_LETTERS_MAX: Final = 100
"""More of them are a sign that something is wrong for long."""

NAMES_MAX: Final = 5
"""Failed agents that are named."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    """Stable name of the check."""
    is_good: bool
    text: str
    fix: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"check": self.check, "ok": self.is_good, "text": self.text, "fix": self.fix}


def local_findings(flags: Flags, *, is_server_up: bool) -> Iterator[Finding]:
    """Look at this machine: Python, settings, data directory, disk, port."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding(
        "python",
        sys.version_info >= PYTHON_MIN,
        f"Python {python}",
        "Caxton needs Python 3.11 or later",
    )
    try:
        loaded = load(flags)
    except CaxtonError as error:
        place = f": {error.places[0]}" if error.places else ""
        yield Finding("settings", False, f"{error.detail}{place}", "mend the settings named here")
        return
    source = f"from {loaded.file}" if loaded.file else "no file"
    yield Finding("settings", True, f"Settings are valid ({source})")
    for warning in loaded.warnings:
        yield Finding("settings", False, warning.message, warning.fix or "remove it")
    yield from _disk_findings(loaded.settings.node.data_dir)
    if not is_server_up:
        yield _exposure_finding(loaded)
        yield _port_finding(loaded)


def _disk_findings(data_dir: Path) -> Iterator[Finding]:
    # A folder that is still to be made is judged by where it will be.
    existing = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    is_writable = _can_write(existing)
    yield Finding(
        "data_dir",
        is_writable,
        f"Data directory {data_dir} {'can' if is_writable else 'cannot'} be written",
        f"give yourself the right to write {existing}, or choose another --data-dir",
    )
    free_bytes = shutil.disk_usage(existing).free
    yield Finding(
        "disk",
        free_bytes >= FREE_BYTES_MIN,
        f"{free_bytes / 1e9:,.1f} GB free on its disk",
        "free some space: without it, nothing can be accepted",
    )


def _exposure_finding(loaded: LoadedSettings) -> Finding:
    try:
        refuse_exposure(loaded, is_insecure=False)
    except CaxtonError as error:
        return Finding("exposure", False, error.detail, error.hint)
    return Finding("exposure", True, "A node here would be open to nobody unasked")


def _port_finding(loaded: LoadedSettings) -> Finding:
    host, port = loaded.settings.http.address
    holder = lock_holder(loaded.settings.node.data_dir)
    if holder is not None:
        text = f"A node runs here at {holder.url} (process {holder.process_id})"
        return Finding("port", False, text, f"talk to it with --server {holder.url}")
    try:
        refuse_taken_port(host, port)
    except CaxtonError as error:
        return Finding("port", False, error.detail, error.hint)
    return Finding("port", True, f"{host}:{port} is free for a node")


def server_findings(client: Client) -> Iterator[Finding]:
    """Look at the server: readiness, agents, model, dead letters. First, whether it is there."""
    try:
        health = client.get("/health")
        ready = client.get("/ready")
        status = client.get(path_of("status"))
        failed = client.get(path_of("agents"), {"state": "failed", "limit": 1_000})["items"]
    except CaxtonError as error:
        yield Finding("server", False, error.detail, error.hint)
        return
    text = f"Node '{health['node']}' {health['version']} answers at {client.server}"
    yield Finding("server", True, text)
    for name, state in sorted(ready["components"].items()):
        # A part says `ready` or, after a colon, what is the matter.
        is_good = not str(state).startswith(("degraded", "failed"))
        yield Finding(f"component.{name}", is_good, f"{name}: {state}", "look: caxton server logs")
    yield _agents_finding(status["agents"]["total"], [each["name"] for each in failed])
    yield _model_finding(status)
    yield from _symptom_findings(client)
    dead = status["messages"].get("dead", 0)
    yield Finding(
        "dead_letters",
        dead <= DEAD_LETTERS_MAX,
        f"{counted(dead, 'dead letter')} since the start",
        "look: caxton deadletter list",
    )


def _symptom_findings(client: Client) -> Iterator[Finding]:
    """Say of the metrics what is wrong only: what is well is well enough known."""
    import time

    from caxton_node.cli.symptoms import symptoms

    found = list(symptoms(client.get_text("/metrics"), now_s=time.time()))
    yield from (finding for finding in found if not finding.is_good)
    if all(finding.is_good for finding in found):
        yield Finding("symptoms", True, f"None of {len(found)} known symptoms shows")


def _agents_finding(total: int, failed: Sequence[str]) -> Finding:
    if not failed:
        return Finding("agents", True, f"{counted(total, 'agent')} deployed, none failed")
    names = ", ".join(failed[:NAMES_MAX])
    fix = f"look: caxton agent logs {failed[0]}; then: caxton agent restart {failed[0]}"
    return Finding("agents", False, f"{counted(len(failed), 'agent')} failed: {names}", fix)


def _model_finding(status: dict[str, Any]) -> Finding:
    model = status.get("model") or {}
    provider = model.get("provider") or "offline"
    if provider == "offline":
        text = "No model is configured: the offline provider answers, and says so"
        return Finding("model", True, text)
    return Finding("model", True, f"Model {provider}/{model.get('model') or 'of its own choice'}")


def _can_write(folder: Path) -> bool:
    """Whether a file can be made in a folder: tried, because permissions do not tell all."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
