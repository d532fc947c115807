"""A name server for what happens before a Service exists: a name that is not there yet."""

from __future__ import annotations

import socket
import threading


class UnknownNames:
    """A DNS server that knows no name, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"dns://127.0.0.1:{self._socket.getsockname()[1]}/search.test:9000"
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> UnknownNames:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _answer(self) -> None:
        while True:
            query, peer = self._socket.recvfrom(512)
            if not query:
                return
            self.asked += 1
            self._socket.sendto(query[:2] + b"\x81\x83" + query[4:], peer)  # NXDOMAIN
