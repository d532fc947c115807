"""The gRPC methods that have an HTTP address, from the descriptors: a new method appears by itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from scot.v1 import index_pb2, search_pb2

SERVICES: tuple[ServiceDescriptor, ...] = tuple(
    service for file in (search_pb2, index_pb2) for service in file.DESCRIPTOR.services_by_name.values()
)


@dataclass(frozen=True, slots=True)
class Method:
    """One gRPC method."""

    full_name: str
    """``scot.v1.SearchService.ComposeSearch``."""
    name: str
    """``ComposeSearch``."""
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool

    @property
    def path(self) -> str:
        """Its HTTP path: ``/v1/compose-search``."""
        return "/v1/" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", self.name).lower()

    @property
    def grpc_path(self) -> str:
        """Its gRPC path: ``/scot.v1.SearchService/ComposeSearch``."""
        service, _, name = self.full_name.rpartition(".")
        return f"/{service}/{name}"


def methods_of(services: Iterable[ServiceDescriptor]) -> tuple[Method, ...]:
    """The methods that have an HTTP address: all but those that take a stream and give one answer.

    Their unary twins do the same, and an HTTP body is whole before it is read.
    """
    found = [
        Method(
            full_name=method.full_name,
            name=method.name,
            request=GetMessageClass(method.input_type),
            response=GetMessageClass(method.output_type),
            client_streaming=method.client_streaming,
            server_streaming=method.server_streaming,
        )
        for service in services
        for method in service.methods
    ]
    return tuple(each for each in found if each.server_streaming or not each.client_streaming)


METHODS: tuple[Method, ...] = methods_of(SERVICES)
BY_NAME: dict[str, Method] = {method.name: method for method in METHODS}


def has_bytes(message: type[Message]) -> bool:
    """Whether a message has a field of bytes at any depth, which multipart/form-data can carry as a file."""
    pending: list[Any] = [message.DESCRIPTOR]
    seen = set[str]()
    while pending:
        current = pending.pop()
        if current.full_name in seen:
            continue
        seen.add(current.full_name)
        for field in current.fields:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return True
            if field.message_type is not None:
                pending.append(field.message_type)
    return False
