"""Frames of the owners stream: they come back as they went, and garbage never does harm."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control_plane.owners.frames import (
    BASE,
    BEAT,
    BEGIN,
    CHANGES,
    CLIENT_HEADER_BYTES,
    FOLLOW,
    MAX_NODE_ID_BYTES,
    MAX_RECORDS,
    STATUS,
    BadFrame,
    ClientMessage,
    Frame,
    begin_body,
    decode,
    decode_client,
    decode_first,
    encode,
    encode_client,
    pack_records,
    revision_of,
    with_revision,
)

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
records = st.lists(st.tuples(u64, u32), max_size=20)
lineage = st.integers(1, 2**64 - 1)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    kind = draw(st.sampled_from((BEGIN, BASE, CHANGES, BEAT)))
    revision, table, flags = draw(u64), draw(lineage), draw(st.integers(0, 3))
    if kind == BEGIN:
        return Frame(kind, revision, table, flags, body=begin_body(draw(u64), draw(u64)))
    if kind == BEAT:
        return Frame(kind, revision, table, flags, age_ms=draw(u32))
    some = draw(records)
    return Frame(kind, revision, table, flags, len(some), body=pack_records(some))


@st.composite
def client_messages(draw: st.DrawFn) -> ClientMessage:
    node = draw(st.text(st.characters(codec="utf-8"), max_size=MAX_NODE_ID_BYTES // 4))
    kind, source = draw(st.sampled_from((FOLLOW, STATUS))), draw(st.integers(1, 3))
    return ClientMessage(kind, draw(u64), draw(u64), source, draw(u64), draw(u32), draw(u64), node)


@given(frames())
def test_a_frame_comes_back_as_it_went(frame: Frame) -> None:
    data = encode(frame)
    assert decode(data) == frame
    assert revision_of(data) == frame.revision
    assert decode(with_revision(data, 7)).revision == 7


@given(client_messages())
def test_a_clients_message_comes_back_as_it_went(message: ClientMessage) -> None:
    assert decode_client(encode_client(message)) == message


@given(records)
def test_records_come_back_as_they_went(some: list[tuple[int, int]]) -> None:
    assert list(Frame(BASE, 1, 1, 0, len(some), body=pack_records(some)).records()) == some


def test_a_begin_says_its_key_and_how_many_names_to_expect() -> None:
    frame = Frame(BEGIN, 1, 1, body=begin_body(5, 6))
    assert decode(encode(frame)).begun() == (5, 6)


@given(st.binary(max_size=200))
@example(b"\x02\x01\x00\x00\xff\xff\xff\xff" + bytes(24))
def test_random_bytes_raise_nothing_but_the_one_error(data: bytes) -> None:
    for read in (decode, decode_first, decode_client):
        with contextlib.suppress(BadFrame):
            read(data)


@given(frames(), st.data())
def test_one_flipped_bit_anywhere_is_found(frame: Frame, data: st.DataObject) -> None:
    good = bytearray(encode(frame))
    at = data.draw(st.integers(0, len(good) * 8 - 1))
    good[at // 8] ^= 1 << at % 8
    with pytest.raises(BadFrame):
        decode(bytes(good))


@given(frames(), st.data())
def test_a_frame_cut_or_prolonged_anywhere_is_refused(frame: Frame, data: st.DataObject) -> None:
    good = encode(frame)
    with pytest.raises(BadFrame):
        decode(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(BadFrame):
        decode(good + b"x")


@given(client_messages(), st.binary(min_size=1, max_size=60), st.data())
def test_a_clients_message_altered_anywhere_is_read_or_refused(
    message: ClientMessage, other: bytes, data: st.DataObject
) -> None:
    good = encode_client(message)
    at = data.draw(st.integers(0, len(good)))
    with contextlib.suppress(BadFrame):
        decode_client(good[:at] + other + good[at + len(other) :])


@given(st.lists(frames(), max_size=5))
def test_frames_behind_each_other_are_told_apart(some: list[Frame]) -> None:
    data, at, found = b"".join(map(encode, some)), 0, []
    while at < len(data):
        frame, at = decode_first(data, at)
        found.append(frame)
    assert found == some


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (Frame(9, 1, 1), "kind is 9"),
        (Frame(BEAT, 1, 0), "names no table"),
        (Frame(BEAT, -1, 1), "does not fit"),
        (Frame(BEAT, 1, 1, count=1), "no records"),
        (Frame(BASE, 1, 1, count=2, body=bytes(12)), "does not explain"),
        (Frame(CHANGES, 1, 1, count=MAX_RECORDS + 1), "at most 5000"),
        (Frame(BEGIN, 1, 1), "does not explain"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(frame: Frame, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        encode(frame)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (ClientMessage(3), "kind is 3"),
        (ClientMessage(STATUS, source=4), "source is 4"),
        (ClientMessage(FOLLOW, node_id="n" * (MAX_NODE_ID_BYTES + 1)), "305 came"),
        (ClientMessage(FOLLOW, node_id="\ud800"), "can't be written"),
        (ClientMessage(FOLLOW, revision=2**64), "can't be written"),
    ],
)
def test_what_no_server_would_accept_is_not_sent(message: ClientMessage, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        encode_client(message)


def test_a_node_id_that_is_no_utf_8_is_refused() -> None:
    good = encode_client(ClientMessage(FOLLOW))
    assert len(good) == CLIENT_HEADER_BYTES
    with pytest.raises(BadFrame, match="UTF-8"):
        decode_client(good + b"\xff")
