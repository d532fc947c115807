"""The Python stubs of the gRPC contract, ``scot/v1``, from ``protos/``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from grpc_tools import protoc

_PROTOS = Path(__file__).resolve().parents[2] / "protos"


def files() -> dict[str, str]:
    """Path in the repository to text: ``*_pb2.py``, ``*_pb2.pyi`` and ``*_pb2_grpc.py`` of each ``.proto`` file.

    Raises:
        RuntimeError: protoc refuses a file; its own message is on stderr.
    """
    well_known = Path(protoc.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(_PROTOS)) for path in _PROTOS.glob("scot/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--{kind}={folder}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
        if protoc.main(["protoc", f"-I{_PROTOS}", f"-I{well_known}", *outputs, *sources]) != 0:
            raise RuntimeError("protoc refused the .proto files")
        written = Path(folder).glob("scot/v1/*_pb2*.py*")
        return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in written}
