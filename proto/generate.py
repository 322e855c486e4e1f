# ruff: noqa: INP001 -- a script beside the contract, not part of a package
"""Generate the wire code from `proto/`: run `make proto` after a change of a contract.

`caxton/v1/` is ours. `caxton_cluster/metadata/wire/` is the part of etcd's that we speak: messages
without services, in the library that speaks it, because that one imports nothing of `caxton`.

The output is committed, so that installing Caxton needs no compiler, and it is never edited:
`tests/unit/test_wire_contract.py` generates it again and compares every byte. Imports are
`caxton.v1.…` because the contract's folders are those of the package.
"""

import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

__all__ = ["GENERATED", "generate"]

ROOT = Path(__file__).resolve().parent
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
"""What the names of generated files look like. Everything else in the folder is ours."""

WITH_SERVICES = "caxton/v1"
MESSAGES_ONLY = "caxton_cluster/metadata/wire"


def generate(destination: Path) -> list[Path]:
    """Compile all contracts below `destination` and return the files that are there now.

    Files of an earlier contract are removed first.

    Raises:
        RuntimeError: The compiler refused a contract; it has said why on stderr.
    """
    return [
        *_compile(WITH_SERVICES, destination, ("python", "grpc_python", "mypy", "mypy_grpc")),
        *_compile(MESSAGES_ONLY, destination, ("python", "mypy")),
    ]


def _compile(folder: str, destination: Path, languages: tuple[str, ...]) -> list[Path]:
    package = destination / folder
    package.mkdir(parents=True, exist_ok=True)
    for stale in _generated_in(package):
        stale.unlink()
    # The plugins of this interpreter's environment, whatever the PATH says.
    plugins = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--proto_path={ROOT}",
        # Timestamp, Duration and their kind come with the compiler.
        f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        *(
            f"--{language}_out={'quiet:' if language.startswith('mypy') else ''}{destination}"
            for language in languages
        ),
        *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob(f"{folder}/*.proto"))),
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError(f"protoc refused the contract in {folder}")
    return _generated_in(package)


def _generated_in(package: Path) -> list[Path]:
    return sorted(path for pattern in GENERATED for path in package.glob(pattern))


if __name__ == "__main__":
    for path in generate(ROOT.parent):
        sys.stdout.write(f"{path.relative_to(ROOT.parent)}\n")
