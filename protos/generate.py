"""Write the Python stubs of the gRPC contract: ``python protos/generate.py [FOLDER]``.

Without a folder they go where they are committed, ``scot/v1``. Run it after every change of a ``.proto`` file; a test
compares the committed stubs with freshly generated ones byte by byte.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
CHECKOUT = PROTOS.parent


def generate(out: Path) -> list[Path]:
    """Write ``scot/v1/*_pb2.py``, ``*_pb2.pyi`` and ``*_pb2_grpc.py`` under ``out`` and return what was written.

    Raises:
        RuntimeError: protoc refuses a file; its own message is on stderr.
    """
    well_known = Path(protoc.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("scot/v1/*.proto"))
    out.mkdir(parents=True, exist_ok=True)
    outputs = [f"--{kind}={out}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *sources]) != 0:
        raise RuntimeError("protoc refused the .proto files")
    return sorted((out / "scot" / "v1").glob("*_pb2*.py*"))


if __name__ == "__main__":
    for path in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT):
        print(path)
