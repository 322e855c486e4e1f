"""Every program of the page about the Python client runs and prints what the page says."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from tests.node_process import node_process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "python-client.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


def run(file):
    return subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )


async def test_every_program_of_the_page_prints_what_the_page_says(tmp_path):
    assert len(PROGRAMS) == PAGE.count("```python\n")
    async with node_process(tmp_path, CAXTON_MEMORY__MODEL="none") as node:
        for number, (program, expected) in enumerate(PROGRAMS):
            file = tmp_path / f"program_{number}.py"
            file.write_text(program.replace("localhost:50051", node.grpc))
            done = await asyncio.to_thread(run, file)
            assert (done.stdout, done.stderr) == (expected, ""), program
