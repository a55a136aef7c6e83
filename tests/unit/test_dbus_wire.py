# SPDX-License-Identifier: GPL-2.0-only
"""D-Bus messages as bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.dbus.library import Message, MessageType, Received, Variant, array_of, body_of, encode, plain
from mcelogd.dbus.wire import (
    BusError,
    Frames,
    Kind,
    WireError,
    is_object_path,
    path_element,
    read_header,
)

names = st.lists(st.text("aB_", min_size=1, max_size=8), min_size=2, max_size=4).map(".".join)
elements = st.lists(st.text("aB_1", min_size=1, max_size=6), min_size=1, max_size=4)
paths = elements.map(lambda parts: "/" + "/".join(parts))
texts = st.text("aZ0_ -/\n\u00e9\u20ac\U0001f600")
bodies = st.one_of(
    st.just(("", [])),
    texts.map(lambda text: ("s", [text])),
    st.lists(st.integers(0, 2**64 - 1)).map(lambda numbers: ("at", [numbers])),
    st.tuples(st.integers(0, 255), st.binary()).map(lambda pair: ("yay", list(pair))),
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    signature, body = draw(bodies)
    common = {"signature": signature, "body": body, "serial": draw(st.integers(1, 2**32 - 1))}
    kind = draw(st.sampled_from(MessageType))
    if kind is MessageType.METHOD_CALL:
        return Message(draw(names), draw(paths), draw(names), "Member", **common)
    if kind is MessageType.SIGNAL:
        message = Message.new_signal(draw(paths), draw(names), "Member", signature, body)
        message.serial = common["serial"]
        return message
    number = draw(st.integers(1, 2**32 - 1))
    return Message(draw(names), message_type=kind, reply_serial=number, error_name=draw(names), **common)


@given(st.lists(messages(), max_size=4), st.lists(st.integers(1, 40)))
def test_a_stream_is_cut_into_its_messages(sent: list[Message], lengths: list[int]) -> None:
    """However it arrives."""
    stream = b"".join(message._marshall() for message in sent)
    frames = Frames({}, 1 << 20)
    received = []
    while stream:
        length = lengths.pop() if lengths else len(stream)
        frames.feed(stream[:length])
        stream = stream[length:]
        while (frame := frames.next()) is not None:
            received.append(Received(read_header(frame), frame))
    assert len(received) == len(sent)
    fields = "message_type serial path interface member error_name reply_serial destination signature body"
    for ours, theirs in zip(received, sent, strict=True):
        for field in fields.split():
            assert getattr(ours, field) == getattr(theirs, field), field


SENDER = 7
"""Code of that header field."""


def call(size: int, order: str = "<") -> bytes:
    fields = {"signature": "ay", "body": [bytes(size)], "serial": 5}
    message = bytes(Message("a.b", "/p", "c.d", "M", **fields)._marshall())
    if order == "<":
        return message
    fixed = struct.pack(">BBBBIII", ord("B"), *message[1:4], *struct.unpack_from("<III", message, 4))
    return fixed + message[16:]


@given(st.integers(0, 300), st.lists(st.integers(1, 100), max_size=10))
def test_of_what_is_too_long_only_the_header_is_kept(size: int, lengths: list[int]) -> None:
    stream = call(size) + call(1)
    frames = Frames({Kind.CALL: 100}, 50)
    headers = []
    while stream:
        length = lengths.pop() if lengths else len(stream)
        frames.feed(stream[:length])
        stream = stream[length:]
        while (frame := frames.next()) is not None:
            assert len(frame) < 250
            headers.append(read_header(frame))
    assert [header.too_long for header in headers] == [size + 4 > 100, False]
    assert {header.member for header in headers} == {"M"}


def test_a_body_that_was_too_long_is_an_error() -> None:
    frames = Frames({}, 200)
    frames.feed(call(300))
    frame = frames.next()
    assert frame is not None
    with pytest.raises(BusError, match="too long"):
        _ = Received(read_header(frame), frame).body


def test_a_long_header_is_skipped() -> None:
    long = bytes(Message("a.b", "/" + "p" * 200_000, "c.d", "M", serial=1)._marshall())
    frames = Frames({}, 64 << 10)
    frames.feed(long + call(1))
    frame = frames.next()
    assert frame == b""
    with pytest.raises(WireError):
        read_header(frame)
    frame = frames.next()
    assert frame is not None
    assert read_header(frame).serial == 5


@given(st.binary(max_size=200))
def test_what_is_no_message_is_said_to_be_none(data: bytes) -> None:
    frames = Frames({}, 1000)
    frames.feed(data)
    try:
        while (frame := frames.next()) is not None:
            read_header(frame)
    except WireError:
        pass


@given(st.integers(0, 120), st.binary(min_size=1, max_size=4))
def test_a_damaged_message_harms_nobody(where: int, damage: bytes) -> None:
    message = bytearray(call(9))
    message[where : where + len(damage)] = damage
    try:
        header = read_header(bytes(message))
        _ = Received(header, bytes(message)).body
    except (WireError, BusError, TypeError, ValueError):
        pass


@pytest.mark.parametrize("damage", [b"x", b"l\x01\x00\x02", b"l\x01\x00\x01\xff\xff\xff\xff"])
def test_after_what_is_no_message_there_is_no_going_on(damage: bytes) -> None:
    frames = Frames({}, 1000)
    frames.feed(damage + call(1)[len(damage) :])
    with pytest.raises(WireError):
        frames.next()


def test_a_message_without_a_serial_number_is_none() -> None:
    """The library cannot even answer it with an error."""
    message = bytearray(call(1))
    struct.pack_into("<I", message, 8, 0)
    with pytest.raises(WireError, match="serial"):
        read_header(bytes(message))


def stamped(sender: str) -> bytes:
    """A message as the bus passes it on: with its sender, which the library does not write."""
    message = call(1)
    (size,) = struct.unpack_from("<I", message, 12)
    name = sender.encode()
    fields = message[16 : 16 + size] + bytes(-size % 8)
    fields += struct.pack("<B3sI", SENDER, b"\x01s\0", len(name)) + name + b"\0"
    body = message[16 + size + -size % 8 :]
    return message[:12] + struct.pack("<I", len(fields)) + fields + bytes(-len(fields) % 8) + body


@pytest.mark.parametrize("sender", [":1.42", "org.freedesktop.DBus", "a-b._c"])
def test_senders(sender: str) -> None:
    assert read_header(stamped(sender)).sender == sender


@pytest.mark.parametrize("sender", ["x", ":1", ":1..2", "a b.c", "a.1", "\0\0g.mcelog", ".a.b"])
def test_a_sender_that_can_be_none(sender: str) -> None:
    """The library cannot answer it."""
    with pytest.raises(WireError, match="sender"):
        read_header(stamped(sender))


def test_the_other_byte_order_is_read_in_the_fixed_part() -> None:
    frames = Frames({}, 1000)
    frames.feed(call(0, ">")[:16])
    assert frames.next() is None


# -- values ---------------------------------------------------------------------------------------


some = st.sampled_from(["/a", "/b/c", "/dimm/1", "/long/path/of/something"])
few = st.sampled_from(["a.b", "org.example.Interface", "c.d"])


@given(st.dictionaries(some, st.dictionaries(few, st.dictionaries(few, st.integers(0, 255)))))
def test_objects_encoded_one_by_one_are_the_array(objects: dict[str, dict[str, dict[str, int]]]) -> None:
    wrapped = {
        path: {
            interface: {name: Variant("y", value) for name, value in properties.items()}
            for interface, properties in interfaces.items()
        }
        for path, interfaces in objects.items()
    }
    entries = [encode("(oa{sa{sv}})", [[path, interfaces]]) for path, interfaces in wrapped.items()]
    assert array_of(entries) == encode("a{oa{sa{sv}}}", [wrapped])


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("v", [("a(sv)", [("x", ("u", 1))])]),
        ("a{sv}as", [{"a": ("ay", b"\0"), "b": ("v", ("s", "deep"))}, ["x"]]),
        ("(t(bb))", [(1, (True, False))]),
        ("aau", [[[1], []]]),
    ],
)
def test_plain_values_go_both_ways(signature: str, values: list[Any]) -> None:
    body = body_of(signature, values)
    encode(signature, body)

    def unpaired(value: Any) -> Any:
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and value[0] in KINDS:
            return unpaired(value[1])
        if isinstance(value, (list, tuple)):
            return [unpaired(one) for one in value]
        if isinstance(value, dict):
            return {key: unpaired(one) for key, one in value.items()}
        return value

    assert [plain(one) for one in body] == [unpaired(one) for one in values]


KINDS = ("a(sv)", "u", "ay", "v", "s")


@pytest.mark.parametrize(
    ("signature", "values"), [("s", []), ("", ["x"]), ("(ss)", [("x",)]), ("v", ["x"]), ("v", [("uu", 1)])]
)
def test_values_that_do_not_fit(signature: str, values: list[Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever the library says of it
        body_of(signature, values)


@pytest.mark.parametrize("path", ["/", "/a", "/org/mcelog/dimm/d0", "/0/_"])
def test_object_paths(path: str) -> None:
    assert is_object_path(path)


@pytest.mark.parametrize("path", ["", "a", "/a/", "//", "/a-b", "/a\n", "/\u00e1"])
def test_what_is_no_object_path(path: str) -> None:
    assert not is_object_path(path)


@pytest.mark.parametrize(
    ("text", "element"),
    [("", "_"), ("DIMM_A1", "DIMM_5fA1"), ("0", "_30"), ("CPU 0/A", "CPU_200_2fA"), ("\u00e9", "_c3_a9")],
)
def test_anything_can_be_an_element_of_a_path(text: str, element: str) -> None:
    """As systemd's sd_bus_path_encode() has it."""
    assert path_element(text) == element


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
def test_no_two_texts_are_the_same_element(different: list[str]) -> None:
    first, second = [path_element(text) for text in different]
    assert first != second
    assert is_object_path(f"/{first}/{second}")
