# ruff: noqa: INP001 -- a script beside the contract, not part of a package
"""Generate `caxton/v1/` from `proto/caxton/v1/`: run `make proto` after a change of the contract.

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


def generate(destination: Path) -> list[Path]:
    """Compile the whole contract below `destination` and return the files that are there now.

    Files of an earlier contract are removed first.

    Raises:
        RuntimeError: The compiler refused the contract; it has said why on stderr.
    """
    package = destination / "caxton" / "v1"
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
        f"--python_out={destination}",
        f"--grpc_python_out={destination}",
        f"--mypy_out=quiet:{destination}",
        f"--mypy_grpc_out=quiet:{destination}",
        *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("caxton/v1/*.proto"))),
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc refused the contract")
    return _generated_in(package)


def _generated_in(package: Path) -> list[Path]:
    return sorted(path for pattern in GENERATED for path in package.glob(pattern))


if __name__ == "__main__":
    for path in generate(ROOT.parent):
        sys.stdout.write(f"{path.relative_to(ROOT.parent)}\n")
