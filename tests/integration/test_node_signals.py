"""What signals do to a real node."""

import asyncio
import signal

from tests.node_process import node_process


async def logged(folder, text):
    """Return once the node's log holds a text."""
    async with asyncio.timeout(10):
        while text not in (folder / "node.log").read_text():
            await asyncio.sleep(0.02)


async def test_sigterm_ends_a_node_with_zero(tmp_path):
    async with node_process(tmp_path) as node:
        assert await node.stop() == 0


async def test_sighup_changes_the_log_level_and_nothing_else(tmp_path):
    config = tmp_path / "caxton.toml"
    config.write_text('[log]\nlevel = "info"\n')
    async with node_process(tmp_path, "--config", str(config)) as node:
        config.write_text('[log]\nlevel = "debug"\n')
        node.process.send_signal(signal.SIGHUP)
        await logged(tmp_path, "log.level is debug")
        assert await node.stop() == 0


async def test_sighup_with_broken_settings_changes_nothing_and_says_why(tmp_path):
    config = tmp_path / "caxton.toml"
    config.write_text('[log]\nlevel = "info"\n')
    async with node_process(tmp_path, "--config", str(config)) as node:
        config.write_text('[log]\nlevel = "loud"\n')
        node.process.send_signal(signal.SIGHUP)
        await logged(tmp_path, "the settings were not reloaded")
        assert await node.stop() == 0
