"""Packed bodies and answers: the same bytes, within bounds, and refused where they are not what they claim."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.server.problems import Problem
from service.server.transport.codings import (
    CODINGS,
    MOST_FRAMES,
    SMALLEST_PACKED_BYTES,
    answer_coding,
    body_coding,
    unpack,
)
from tests.service.conftest import Server

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
BOTH = pytest.mark.parametrize("name", sorted(CODINGS))
ONE = json.dumps({"inputs": ["the film was good"]}).encode()
MANY = json.dumps({"inputs": ["the film was good"] * 60}).encode()


def post(server: Server, body: bytes, coding: str, accept: str = "identity") -> httpx.Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding, "Accept-Encoding": accept}
    return server.client.post("/v1/sentiment", content=body, headers=headers)


@BOTH
@given(body=st.binary(max_size=5_000) | st.binary(max_size=20).map(lambda piece: piece * 500))
def test_what_was_packed_is_unpacked(name: str, body: bytes) -> None:
    assert unpack(CODINGS[name].pack(body), CODINGS[name], 10_000) == body
    assert unpack(PACK[name](body), CODINGS[name], len(body)) == body


@BOTH
@given(body=st.binary(max_size=200), cut=st.floats(0, 1, exclude_max=True))
def test_a_packed_body_that_ends_too_early_is_refused(name: str, body: bytes, cut: float) -> None:
    packed = PACK[name](body)
    with pytest.raises(Problem, match="ends before"):
        unpack(packed[: int(cut * len(packed))], CODINGS[name], 10_000)


@BOTH
@given(body=st.binary(min_size=1, max_size=300))
@settings(max_examples=300)
def test_any_bytes_are_unpacked_or_refused_with_a_reason(name: str, body: bytes) -> None:
    with suppress(Problem):
        assert len(unpack(body, CODINGS[name], 1_000)) <= 1_001


@BOTH
def test_unpacking_stops_one_byte_behind_the_bound(name: str) -> None:
    bomb = PACK[name](b"\x00" * 50_000_000)
    assert len(bomb) < 60_000
    assert len(unpack(bomb, CODINGS[name], 1_000)) == 1_001
    assert unpack(PACK[name](b"x" * 1_000), CODINGS[name], 1_000) == b"x" * 1_000


@BOTH
def test_bodies_in_some_pieces_are_read_and_in_very_many_refused(name: str) -> None:
    piece = PACK[name](b"ab")
    assert unpack(piece * MOST_FRAMES, CODINGS[name], 1_000) == b"ab" * MOST_FRAMES
    with pytest.raises(Problem, match="more than 16 pieces"):
        unpack(piece * (MOST_FRAMES + 1), CODINGS[name], 1_000)


def test_a_damaged_checksum_is_refused() -> None:
    packed = bytearray(gzip.compress(ONE))
    packed[-5] ^= 1
    with pytest.raises(Problem, match="not gzip"):
        unpack(bytes(packed), CODINGS["gzip"], 1_000)


def test_a_frame_that_asks_for_much_memory_is_refused() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(b"x") + packer.flush()
    with pytest.raises(Problem, match="not zstd"):
        unpack(packed, CODINGS["zstd"], 1_000)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([], None), ([b""], None), ([b"identity"], None), ([b"gzip"], "gzip"), ([b"GZIP"], "gzip"),
        ([b"gzip, deflate, br, zstd"], "zstd"), ([b"gzip", b"zstd"], "zstd"), ([b"zstd;q=0.5, gzip;q=0.8"], "gzip"),
        ([b"gzip;q=0"], None), ([b"gzip;q=0.000, zstd;q=0"], None), ([b"*"], None), ([b"br"], None),
        ([b"gzip;q=0.5, identity"], None), ([b"gzip;q=x"], None), ([b"gzip;q=2"], None), ([b"\xff, ;;,"], None),
    ],
)  # fmt: skip
def test_the_caller_says_how_answers_are_packed(values: list[bytes], name: str | None) -> None:
    coding = answer_coding(values)
    assert (coding and coding.name) == name


@pytest.mark.parametrize(
    ("values", "name"),
    [([], None), ([b"identity"], None), ([b"gzip"], "gzip"), ([b"X-GZip"], "gzip"), ([b"identity, zstd"], "zstd")],
)
def test_the_coding_of_a_body_is_known(values: list[bytes], name: str | None) -> None:
    coding = body_coding(values)
    assert (coding and coding.name) == name


# Over HTTP.


@BOTH
def test_packed_bodies_are_answered_like_plain_ones(server: Server, name: str) -> None:
    plain, packed = post(server, ONE, "identity"), post(server, PACK[name](ONE), name)
    assert packed.json()["results"] == plain.json()["results"]


@BOTH
def test_long_answers_are_packed_for_those_who_take_it(server: Server, name: str) -> None:
    with server.client.stream(
        "POST",
        "/v1/sentiment",
        content=MANY,
        headers={"Content-Type": "application/json", "Accept-Encoding": name},
    ) as response:
        raw = b"".join(response.iter_raw())
    assert (response.headers["content-encoding"], response.headers["vary"]) == (name, "accept-encoding")
    assert int(response.headers["content-length"]) == len(raw)
    plain = unpack(raw, CODINGS[name], 1_000_000)
    assert json.loads(plain)["results"] == post(server, MANY, "identity").json()["results"]
    assert len(raw) < len(plain) / 2


def test_short_answers_and_those_for_others_go_as_they_are(server: Server) -> None:
    short = post(server, ONE, "identity", "gzip")
    assert len(short.content) < SMALLEST_PACKED_BYTES
    assert "content-encoding" not in short.headers
    assert "content-encoding" not in post(server, MANY, "identity", "br").headers
    head = server.client.head("/docs.json", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in head.headers


@BOTH
def test_a_body_that_unpacks_to_more_than_the_bound_is_too_large(server: Server, name: str) -> None:
    refused = post(server, PACK[name](b" " * 30_000_000), name)
    assert (refused.status_code, refused.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (ONE, "br", 415, "unsupported_media_type"),
        (gzip.compress(gzip.compress(ONE)), "gzip, gzip", 415, "unsupported_media_type"),
        (ONE, "gzip", 400, "bad_request"),
        (ONE, "zstd", 400, "bad_request"),
        (gzip.compress(ONE)[:-3], "gzip", 400, "bad_request"),
        (zlib.compress(ONE), "gzip", 400, "bad_request"),
        (gzip.compress(b""), "gzip", 400, "malformed_json"),
        (gzip.compress(b"{"), "gzip", 400, "malformed_json"),
    ],
    # Not their bytes: gzip writes the time.
    ids=["unknown", "twice", "no gzip", "no zstd", "cut", "zlib", "empty", "no JSON"],
)
def test_packed_bodies_that_cannot_be_read_are_refused(
    server: Server, body: bytes, coding: str, status: int, code: str
) -> None:
    refused = post(server, body, coding)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert (refused.headers.get("accept-encoding") == "zstd, gzip") == (status == 415)
