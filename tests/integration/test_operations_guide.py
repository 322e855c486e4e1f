"""The path of a new operator, followed word for word: what the guide says to type is typed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.netns_lab import why_not

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "operate.md"
SECTION = "A cluster in ten minutes"
TIMEOUT_S = 800

MISSING = [name for name in ("prometheus", "curl", "python3", "unshare") if not shutil.which(name)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(TIMEOUT_S * 2),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def blocks() -> list[str]:
    """Return what the section says to type, in order."""
    section = GUIDE.read_text().split(f"## {SECTION}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


def test_an_empty_machine_becomes_a_cluster_of_three_with_metrics(tmp_path):
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    home = tmp_path / "home"
    (home / "src").mkdir(parents=True)
    # The guide's checkout, as a clone would be: nothing that was built here.
    ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.pyc")
    shutil.copytree(ROOT, home / "src" / "caxton", ignore=ignored)
    install, *rest = blocks()
    kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}
    environment = {**kept, "HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    said = run(["bash", "-euo", "pipefail", "-c", install], environment)
    assert re.search(r"\d+\.\d+\.\d+", said)
    # The ports of the guide, on a loopback of its own; everything ends with the namespace.
    inside = "ip link set lo up\n" + "\n".join(rest)
    namespace = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    said = run([*namespace, "bash", "-euo", "pipefail", "-c", inside], environment)
    for node in ("node-1", "node-2", "node-3"):
        assert re.search(rf"{node}\s.*alive", said), said
    assert "Agent 'DataAnalyzer' deployed" in said
    assert "4" in said.split("deployed", 1)[1], "the mean of 3 and 5"
    assert "None of" in said, "the doctor knows of no symptom"


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment,
        cwd=environment["HOME"],
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
