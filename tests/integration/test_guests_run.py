"""The guests of this repository on a real node, deployed and used as a person would."""

import asyncio
import json
import sys
import zlib
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.rest_node import rest_node

GUESTS = Path(__file__).parents[2] / "examples" / "guests"
CAXTON = Path(sys.executable).parent / "caxton"


@asynccontextmanager
async def command_line(folder):
    """Open a node; give what runs `caxton` on it and returns the document printed."""
    async with rest_node(folder) as rest:

        async def run(*arguments, is_good=True):
            process = await asyncio.create_subprocess_exec(
                *(str(CAXTON), "--server", rest.url, "--output", "json", *arguments),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(process.communicate(), 50)
            assert (process.returncode == 0) is is_good, err.decode()
            return json.loads(out if is_good else err)

        yield run


async def chat(run, agent, content):
    """Send an agent a JSON value and return the content of its answer."""
    document = await run(
        "chat", agent, content if isinstance(content, str) else json.dumps(content)
    )
    return document["reply"]["content"]


@pytest.mark.parametrize(
    ("manifest", "agent"), [("c/echo/echo", "Echo"), ("assemblyscript/echo/as-echo", "AsEcho")]
)
async def test_echoes_send_back_what_they_get(tmp_path, manifest, agent):
    async with command_line(tmp_path) as run:
        await run("deploy", str(GUESTS / f"{manifest}.toml"))
        assert await chat(run, agent, 'say "é" {}[]') == 'say "é" {}[]'


async def test_the_counter_in_rust_counts_on_after_a_new_version(tmp_path):
    async with command_line(tmp_path) as run:
        await run("deploy", str(GUESTS / "rust/counter/counter.toml"))
        for _ in range(2):
            await chat(run, "Counter", "count")
        source = (GUESTS / "rust/counter/counter.toml").read_text()
        newer = tmp_path / "counter.toml"
        newer.write_text(source.replace('"1.0.0"', '"1.1.0"'))
        (tmp_path / "counter.wasm").write_bytes((GUESTS / "rust/counter/counter.wasm").read_bytes())
        await run("deploy", str(newer))
        assert await chat(run, "Counter", "count") == {"count": 3}


async def test_an_agent_in_javascript_asks_one_in_go(tmp_path):
    async with command_line(tmp_path) as run:
        await run("deploy", str(GUESTS / "go/word-count/word-count.toml"))
        await run("deploy", str(GUESTS / "js/asker/asker.toml"))
        answer = await chat(run, "ReadingTime", "one two three " * 100)
    assert answer == {"words": 300, "minutes": 1.5, "counted_by": "WordCount"}


@pytest.mark.parametrize(
    ("manifest", "tool", "arguments", "result"),
    [
        (
            "rust/csv/csv",
            "sum_by",
            {"csv": "r,n\na,1\nb,2\na,3\n", "column": "n", "by": "r"},
            {"a": 4, "b": 2},
        ),
        ("c/checksums/checksums", "crc32", {"text": "né\n😀"}, zlib.crc32("né\n😀".encode())),
        ("assemblyscript/calculator/as-calculator", "power", {"a": 2, "b": 10}, 1024),
        ("js/calculator/js-calculator", "hypotenuse", {"numbers": [3, 4]}, 5),
        ("go/calculator/go-calculator", "divide", {"a": 7, "b": 2}, {"text": "3.5"}),
    ],
    ids=["rust", "c", "assemblyscript", "javascript", "go-stdio"],
)
async def test_a_server_in_each_language_offers_its_tools(
    tmp_path, manifest, tool, arguments, result
):
    name = manifest.rpartition("/")[2]
    async with command_line(tmp_path) as run:
        await run("tool", "deploy", str(GUESTS / f"{manifest}.toml"))
        answer = await run("tool", "call", f"{name}.{tool}", json.dumps(arguments))
    assert (answer["is_error"], answer["content"]) == (False, result)


def built(file):
    """Return the manifest of a guest in Python: 18 MB, not kept here; skip if it is not built."""
    if not file.exists():
        pytest.skip(f"{file.name} is not built: `make guests` does, with componentize-py installed")
    return str(file.with_suffix(".toml"))


@pytest.mark.slow
async def test_a_server_in_python_offers_its_tools(tmp_path):
    manifest = built(GUESTS / "python" / "text-tools" / "text-tools.wasm")
    async with command_line(tmp_path) as run:
        await run("tool", "deploy", manifest)
        answer = await run("tool", "call", "text-tools.without_accents", '{"text": "Ägäis"}')
    assert (answer["is_error"], answer["content"]) == (False, "Agais")


@pytest.mark.slow
async def test_an_agent_in_python_keeps_its_notes(tmp_path):
    manifest = built(GUESTS / "python" / "notebook" / "notebook.wasm")
    async with command_line(tmp_path) as run:
        await run("deploy", manifest)
        send = ("message", "send", "--to", "Notebook", "--wait", "30s")
        await run(*send, '{"note": "milk", "text": "two bottles"}')
        answer = await run(*send, '{"note": "milk"}')
    assert answer["reply"]["content"] == {"note": "milk", "text": "two bottles"}
