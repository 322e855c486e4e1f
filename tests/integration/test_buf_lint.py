"""The wire contract against the rules of its trade."""

import subprocess
from pathlib import Path

from tests.npm_tools import npm_tool

BUF_VERSION = "1.75.0"
PROTO = Path(__file__).resolve().parents[2] / "proto"


def buf_lint(folder: Path) -> subprocess.CompletedProcess[str]:
    buf = npm_tool("@bufbuild/buf", BUF_VERSION, "buf")
    return subprocess.run(
        [buf, "lint", str(folder)], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_contract_keeps_every_rule_of_buf():
    outcome = buf_lint(PROTO)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_buf_would_notice_a_field_without_a_comment(tmp_path):
    folder = tmp_path / "caxton" / "v1"
    folder.mkdir(parents=True)
    (tmp_path / "buf.yaml").write_text((PROTO / "buf.yaml").read_text())
    (folder / "odd.proto").write_text(
        'syntax = "proto3";\npackage caxton.v1;\n// A message.\nmessage Odd { string bare = 1; }\n'
    )
    outcome = buf_lint(tmp_path)
    assert outcome.returncode != 0
    assert 'Field "bare" should have a non-empty comment' in outcome.stdout
