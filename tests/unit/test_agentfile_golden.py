"""The whole text that an author reads, for files as people write them.

The expected texts were approved by a reader; no run rewrites them.
"""

from pathlib import Path

import pytest

from caxton_node.agentfile import detect_format, parse_agent
from caxton_node.domain.errors import Rejected

GOLDEN = Path(__file__).parent.parent / "golden" / "agentfile"
TOOLS = ("csv_parser", "echo", "http_client", "text_processor")


def told(path):
    """Return all that is said about a file."""
    try:
        parsed = parse_agent(
            path.read_bytes(),
            format=detect_format(path.name),
            file=path.name,
            environment={},
            known_tools=TOOLS,
        )
    except Rejected as error:
        return str(error)
    return "\n".join(map(str, parsed.warnings))


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.glob("*.toml")) + sorted(GOLDEN.glob("*.md")), ids=lambda path: path.name
)
def test_an_author_reads_the_expected_text(path):
    expected = path.with_name(f"{path.name}.expected").read_text(encoding="utf-8")
    assert told(path) + "\n" == expected


def test_every_expected_text_has_its_file():
    assert all(path.with_suffix("").exists() for path in GOLDEN.glob("*.expected"))
