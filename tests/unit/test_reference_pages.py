import importlib.util
from pathlib import Path

import pytest

from caxton_node.agentfile.inert import NOT_ACTED_UPON
from caxton_node.agentfile.schema import FIELDS
from caxton_node.config.settings import all_settings

GENERATOR = Path(__file__).parents[2] / "docs" / "generate.py"


def pages():
    spec = importlib.util.spec_from_file_location("docs_generate", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.pages())


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_generated_page_is_current(path):
    assert path.read_text(encoding="utf-8") == pages()[path], "run python docs/generate.py"


def test_every_key_of_agent_files_is_in_the_reference():
    page = (GENERATOR.parent / "reference" / "agent-file.md").read_text(encoding="utf-8")
    names = {key.rpartition(".")[2] for key in FIELDS} | set(NOT_ACTED_UPON)
    assert [name for name in names if f"`{name}`" not in page and f"`[{name}]`" not in page] == []


def test_every_setting_is_in_the_reference():
    page = (GENERATOR.parent / "reference" / "settings.md").read_text(encoding="utf-8")
    names = [setting.key.partition(".")[2] for setting in all_settings()]
    assert [name for name in names if f"| `{name}` |" not in page] == []
