"""The Python stubs of the gRPC contract and its comments, ``scot/v1``, from ``protos/``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

_PROTOS = Path(__file__).resolve().parents[2] / "protos"


def files() -> dict[str, str]:
    """Path in the repository to text: ``*_pb2.py``, ``*_pb2.pyi`` and ``*_pb2_grpc.py`` of each ``.proto`` file, and
    ``comments.json``.

    Raises:
        RuntimeError: protoc refuses a file; its own message is on stderr.
    """
    well_known = Path(protoc.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(_PROTOS)) for path in _PROTOS.glob("scot/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--{kind}={folder}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
        described = Path(folder) / "descriptors"
        outputs += [f"--descriptor_set_out={described}", "--include_source_info"]
        if protoc.main(["protoc", f"-I{_PROTOS}", f"-I{well_known}", *outputs, *sources]) != 0:
            raise RuntimeError("protoc refused the .proto files")
        written = Path(folder).glob("scot/v1/*_pb2*.py*")
        found = {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in written}
        files = FileDescriptorSet.FromString(described.read_bytes()).file
    comments = {name: text for file in files for name, text in _comments(file)}
    return {**found, "scot/v1/comments.json": json.dumps(comments, indent=1, ensure_ascii=False, sort_keys=True) + "\n"}


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """The full name and the comment of each service, method, message and field that has one."""
    names = dict(_names(file))
    for place in file.source_code_info.location:
        comment = " ".join((place.leading_comments or place.trailing_comments).split())
        if place.leading_comments.count("\n") > 1:
            comment = "\n".join(line.removeprefix(" ").rstrip() for line in place.leading_comments.splitlines())
        if comment and tuple(place.path) in names:
            yield names[tuple(place.path)], comment


def _names(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """The path in the file's descriptor (see ``SourceCodeInfo.Location``), and the full name."""
    for place, service in enumerate(file.service):
        path = (FileDescriptorProto.SERVICE_FIELD_NUMBER, place)
        yield path, f"{file.package}.{service.name}"
        yield from _members(path, f"{file.package}.{service.name}", 2, service.method)
    for place, message in enumerate(file.message_type):
        path = (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, place)
        yield path, f"{file.package}.{message.name}"
        yield from _members(path, f"{file.package}.{message.name}", DescriptorProto.FIELD_FIELD_NUMBER, message.field)


def _members(
    path: tuple[int, ...], owner: str, number: int, members: Sequence[Any]
) -> Iterator[tuple[tuple[int, ...], str]]:
    for place, member in enumerate(members):
        yield (*path, number, place), f"{owner}.{member.name}"
