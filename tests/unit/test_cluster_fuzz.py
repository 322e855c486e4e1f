"""A minute of coverage-guided fuzzing, where atheris is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

DURATION_S = 60
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "memberlist"


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris, the coverage-guided fuzzer, is not installed",
)
def test_no_bytes_crash_a_reader(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for file in sorted(GOLDEN.glob("*.json")):
        for number, row in enumerate(json.loads(file.read_text())):
            (corpus / f"{file.stem}-{number}").write_bytes(bytes.fromhex(row["bytes"]))
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.unit.cluster_fuzz",
            f"-max_total_time={DURATION_S}",
            "-max_len=2048",
            f"-artifact_prefix={tmp_path}/",
            str(corpus),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert run.returncode == 0, run.stderr[-3000:]
