"""The path of a new operator, followed word for word: what the guide says to type is typed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.netns_lab import why_not

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "operate.md"
BEGINNING = "A cluster in ten minutes"
TIMEOUT_S = 800

MISSING = [name for name in ("prometheus", "curl", "python3", "unshare") if not shutil.which(name)]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@pytest.fixture
def home(tmp_path):
    """Make an empty home, with a checkout as a clone would be: nothing that was built here."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path / "home"
    (folder / "src").mkdir(parents=True)
    ignored = shutil.ignore_patterns(".*", "build", "__pycache__", "*.pyc", "node_modules")
    shutil.copytree(ROOT, folder / "src" / "caxton", ignore=ignored)
    return folder


def blocks(text: str) -> list[str]:
    """Return what a part of the guide says to type, in order."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    return GUIDE.read_text().split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.timeout(240)
def test_three_nodes_with_metrics_are_up_in_ten_minutes(home):
    """As the guide has it, but for the installation: the program is there."""
    programs = home / "caxton" / "bin"
    programs.mkdir(parents=True)
    for name in ("caxton", "caxton-node", "python3"):
        (programs / name).symlink_to(Path(sys.executable).with_name(name))
    _, *rest = blocks(section(BEGINNING))
    assert_a_cluster_works(type_in(home, rest, PYTHONPATH=str(ROOT)))


@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S * 2)
def test_an_empty_machine_becomes_a_cluster_that_is_upgraded_scaled_and_restored(home):
    install, *rest = blocks(GUIDE.read_text())
    said = run(["bash", "-euo", "pipefail", "-c", install], home)
    assert re.search(r"\d+\.\d+\.\d+", said)
    said = type_in(home, rest)
    assert_a_cluster_works(said)
    assert re.search(r"node-4\s.*alive", said), "scaled out"
    assert "(3 of 3 nodes, 2 make a majority)" in said, "scaled in"
    assert len(list((home / "backups").iterdir())) == 3
    assert said.count("metrics.txt") == 1, "in the bundle for a helper"


def assert_a_cluster_works(said: str) -> None:
    for node in ("node-1", "node-2", "node-3"):
        assert re.search(rf"{node}\s.*alive", said), said
    assert "Agent 'DataAnalyzer' deployed" in said
    assert "4" in said.split("deployed", 1)[1], "the mean of 3 and 5"
    assert "None of" in said, "the doctor knows of no symptom"


def type_in(home: Path, commands: list[str], **variables: str) -> str:
    """Run the commands on a loopback of their own; everything ends with its namespace."""
    # A disk of their own too: how full that of this machine is, the doctor would tell.
    before = "ip link set lo up; mkdir ~/cluster; mount -t tmpfs tmpfs ~/cluster\n"
    inside = before + "\n".join(commands)
    namespace = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return run([*namespace, "bash", "-euo", "pipefail", "-c", inside], home, **variables)


def run(command: list[str], home: Path, **variables: str) -> str:
    kept = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_"))}
    kept |= {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=kept | variables,
        cwd=home,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
