"""An answer's head and body leave together, and none of either is lost."""

import asyncio
from collections.abc import Iterable

from service.server.transport.answers import AnswerWriter


class Wire(asyncio.Transport):
    """Keeps what was written, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def test_the_head_leaves_with_the_first_part_of_the_body() -> None:
    wire = Wire()
    writer = AnswerWriter(wire)
    writer.hold_next()
    for part in (b"head", b"body", b"more"):
        writer.write(part)
    assert wire.calls == [b"headbody", b"more"]


def test_what_comes_before_the_head_is_not_kept_back() -> None:
    wire = Wire()
    writer = AnswerWriter(wire)
    writer.write(b"go ahead")
    writer.hold_next()
    assert wire.calls == [b"go ahead"]


def test_a_head_without_a_body_leaves_before_the_end() -> None:
    wire = Wire()
    writer = AnswerWriter(wire)
    writer.hold_next()
    writer.write(b"head")
    assert not writer.is_closing()
    writer.close()
    assert (b"".join(wire.calls), wire.is_closed, writer.is_closing()) == (b"head", True, True)
