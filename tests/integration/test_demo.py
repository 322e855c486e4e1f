"""`make demo`'s program: three real nodes, real data, one of them killed, figures compared."""

import csv
import io
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(240)
def test_the_demo_answers_with_the_figures_of_the_file():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    books = re.search(r"accepted 2,000 = ([0-9,]+) answered \+ ([0-9,]+) delivered", done.stdout)
    assert books is not None, done.stdout
    assert books.groups() == ("1,000", "1,000")
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
