"""A worker shuts itself in: no network, no new programs, no writing of files, not much memory.

The sandbox of the engine is the first wall; this is the second, for the day that the first has a
hole. What the kernel enforces is inherited and cannot be undone. Where it offers no filters (or
on a processor whose numbers are not known here) the limits on resources still hold, and the worker
says that it is not confined.

Reference: seccomp(2), SECCOMP_SET_MODE_FILTER; the system call tables of Linux.
"""

import ctypes
import platform
import resource
import struct
import sys
from typing import Final

__all__ = ["DATA_BYTES_MAX", "confine"]

DATA_BYTES_MAX: Final = 8 << 30
"""Private memory of a worker that can be written: all its guests together, and itself."""

FILES_OPEN_MAX: Final = 256

_ARCHITECTURES: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

_FORBIDDEN: Final = {
    "x86_64": (
        # socket, connect, accept, sendto, bind, listen, socketpair, accept4
        *(41, 42, 43, 44, 49, 50, 53, 288),
        # fork, vfork, execve, execveat, kill, tkill, tgkill, ptrace, pidfd_open, pidfd_send_signal
        *(57, 58, 59, 322, 62, 200, 234, 101, 434, 424),
        # rename, mkdir, rmdir, creat, link, unlink, symlink, chmod, chown, lchown, truncate
        *(82, 83, 84, 85, 86, 87, 88, 90, 92, 94, 76),
        # mkdirat, unlinkat, renameat, linkat, symlinkat, fchmodat, fchownat, renameat2, openat2
        *(258, 263, 264, 265, 266, 268, 260, 316, 437),
        # mount, umount2, pivot_root, chroot, setns, unshare, init_module, finit_module, bpf,
        # perf_event_open, process_vm_readv, process_vm_writev, io_uring_setup, userfaultfd, keyctl
        *(165, 166, 155, 161, 308, 272, 175, 313, 321, 298, 310, 311, 425, 323, 250),
    ),
    "aarch64": (
        *(198, 203, 202, 206, 200, 201, 199, 242),
        *(221, 281, 129, 130, 131, 117, 434, 424),
        *(34, 35, 36, 37, 38, 53, 54, 276, 437, 45),
        *(40, 39, 41, 51, 268, 97, 105, 273, 280, 241, 270, 271, 425, 282, 219),
    ),
}

_OPEN: Final[dict[str, tuple[int | None, int | None]]] = {"x86_64": (2, 1), "aarch64": (None, None)}
"""`open` and the place of its flags."""
_OPENAT: Final = {"x86_64": 257, "aarch64": 56}

_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_CLONE3: Final = 435
_CLONE_THREAD: Final = 0x0001_0000

_FOREIGN_ABI: Final = 0x4000_0000
"""System calls of x32 carry this bit, and other numbers."""

_WRITING: Final = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000
"""O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND."""

_ALLOW: Final = 0x7FFF_0000
_REFUSE: Final = 0x0005_0000 | 1
"""SECCOMP_RET_ERRNO with EPERM."""
_ABSENT: Final = 0x0005_0000 | 38
"""SECCOMP_RET_ERRNO with ENOSYS: the C library then tries another way."""

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_FILTER_MODE: Final = 2

_LOAD: Final = 0x20
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_JUMP_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06


def confine() -> bool:
    """Shut this process in, for good; return whether the kernel refuses it network and programs."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, files_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = (
        FILES_OPEN_MAX if files_hard == resource.RLIM_INFINITY else min(FILES_OPEN_MAX, files_hard)
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if not sys.platform.startswith("linux"):
        return False
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES_MAX, DATA_BYTES_MAX))
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    # Nobody of the same user looks into it, and it never gains rights.
    library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    program = filter_program(machine)
    code = ctypes.create_string_buffer(program)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    whole = Program(len(program) // 8, ctypes.addressof(code))
    answer: int = library.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(whole), 0, 0)
    return answer == 0


def filter_program(machine: str) -> bytes:
    """Return the filter of system calls for a kind of machine, as the kernel reads it."""
    forbidden = _FORBIDDEN[machine]
    rows: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, 0),
        (_JUMP_AT_LEAST, 0, 1, _FOREIGN_ABI),
        (_RETURN, 0, 0, _REFUSE),
        # Threads yes, processes no; what is asked in memory the filter cannot read.
        (_JUMP_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ABSENT),
        (_JUMP_EQUAL, 0, 4, _CLONE[machine]),
        (_LOAD, 0, 0, 16),
        (_JUMP_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for number in forbidden:
        rows += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    old, _ = _OPEN[machine]
    opens: tuple[tuple[int | None, int], ...] = ((old, 1), (_OPENAT[machine], 2))
    for opening, place in opens:
        if opening is not None:
            rows += [
                (_JUMP_EQUAL, 0, 4, opening),
                (_LOAD, 0, 0, 16 + 8 * place),
                (_JUMP_ANY_BIT, 0, 1, _WRITING),
                (_RETURN, 0, 0, _REFUSE),
                (_RETURN, 0, 0, _ALLOW),
            ]
    rows.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *row) for row in rows)
