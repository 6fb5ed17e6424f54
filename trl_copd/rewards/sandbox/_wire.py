"""Messages between the trainer's process and its two servers, all of which are trusted: pickles with descriptors."""

import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any


def send(connection: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    data = pickle.dumps(message)
    socket.send_fds(connection, [struct.pack("<I", len(data))], list(descriptors))
    connection.sendall(data)


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """
    Raises:
        EOFError: The other end is gone.
    """
    header, descriptors, _, _ = socket.recv_fds(connection, 4, 8)
    while len(header) < 4:
        more = connection.recv(4 - len(header))
        if not more:
            raise EOFError
        header += more
    data = _read(connection, struct.unpack("<I", header)[0])
    message = pickle.loads(data)
    data[:] = bytes(len(data))  # what is forked from here on finds no inputs of others in freed memory
    return message, descriptors


def read(connection: socket.socket, size: int) -> bytes:
    return bytes(_read(connection, size))


def _read(connection: socket.socket, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(size - len(data), 1 << 20))
        if not chunk:
            raise EOFError
        data += chunk
    return data
