"""A worker that has shut itself in: what the kernel refuses it."""

import subprocess
import sys

import pytest

CONFINED = """
import os, socket, subprocess, sys, threading
from caxton_node.wasm.confinement import confine
if not confine():
    print("unconfined")
    sys.exit(0)
refused = []
def attempt(name, act):
    try:
        act()
    except OSError:
        refused.append(name)
attempt("socket", lambda: socket.socket())
attempt("unix", lambda: socket.socketpair())
attempt("program", lambda: os.execv("/bin/true", ["true"]))
attempt("fork", os.fork)
attempt("write", lambda: open("/tmp/caxton-confined", "w"))
attempt("unlink", lambda: os.unlink("/tmp/caxton-nothing"))
attempt("kill", lambda: os.kill(1, 0))
attempt("chmod", lambda: os.chmod("/tmp", 0o777))
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
open("/dev/urandom", "rb").read(1)
print(",".join(refused))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is Linux's")
def test_a_confined_process_has_no_network_no_programs_and_writes_nothing():
    done = subprocess.run(
        [sys.executable, "-c", CONFINED], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "unconfined":
        pytest.skip("this kernel takes no filters of system calls")
    assert done.stdout.strip() == "socket,unix,program,fork,write,unlink,kill,chmod"
