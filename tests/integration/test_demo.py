"""`make demo`'s program: real processes, real data, figures compared by the program itself."""

import csv
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(150)
def test_the_demo_answers_with_the_figures_of_the_file():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from demo import sales_csv
    finally:
        sys.path.pop(0)
    rows = list(csv.DictReader(io.StringIO(sales_csv())))
    assert len(rows) >= 1_000
    units = [int(row["units"]) for row in rows]
    line = next(line for line in done.stdout.splitlines() if "- units: " in line)
    said = {name: float(value) for name, value in re.findall(r"(\w+) (-?[0-9][0-9.]*)", line)}
    assert said["sum"] == sum(units)
    assert math.isclose(said["mean"], sum(units) / len(units), rel_tol=1e-6)
    assert (said["min"], said["max"]) == (min(units), max(units))
