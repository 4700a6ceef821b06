"""Attacks on a server: each sends about as many frames as it is told to, and returns how many it has sent."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snakepit_bridge.v1 import tool_pb2, variable_pb2
from tests.faults.abuse.wire import (
    ACK,
    BATCH,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROMISE,
    RESET,
    SETTINGS,
    WINDOW,
    WITH_PRIORITY,
    Wire,
    block,
    frame,
    message,
)

SERVICE = "/snakepit_bridge.v1.VariableService/"


@dataclass(frozen=True)
class Target:
    """What is attacked.

    Attributes:
        address: the server's.
        session: a session that the attackers' requests are about.
    """

    address: str
    session: str


Attack = Callable[[Target, int], int]
ATTACKS: dict[str, tuple[Attack, int]] = {}
"""Each attack, and how many of every 1,000 frames are its."""


def attack(share: int) -> Callable[[Attack], Attack]:
    """Lists an attack."""

    def add(function: Attack) -> Attack:
        ATTACKS[function.__name__] = function, share
        return function

    return add


def flood(target: Target, count: int, batch: Callable[[Wire], list[bytes]], greeting: bytes | None = None) -> int:
    """Sends such batches until there were so many frames, over as many connections as the server takes to bear them."""
    sent = 0
    while sent < count:
        with Wire(target.address) if greeting is None else Wire(target.address, greeting=greeting) as wire:
            while sent < count and wire.open and wire.stream < 2**30:
                frames = batch(wire)
                wire.send(frames)
                sent += len(frames)
                wire.drain()
            wire.settle()
    return sent


def watch_of(session: str) -> bytes:
    request = variable_pb2.WatchVariablesRequest(session_id=session, mode=variable_pb2.WATCH_MODE_EVERY)
    return message(request.SerializeToString())


@attack(200)
def rapid_reset(target: Target, count: int) -> int:
    opened = block(SERVICE + "SyncVariables")

    def batch(wire: Wire) -> list[bytes]:
        streams = [wire.next_stream() for _ in range(BATCH // 2)]
        pairs = ((frame(HEADERS, END_HEADERS, it, opened), frame(RESET, 0, it, CANCEL)) for it in streams)
        return [one for pair in pairs for one in pair]

    return flood(target, count, batch)


@attack(120)
def reset_watches(target: Target, count: int) -> int:
    opened, asked = block(SERVICE + "WatchVariables"), watch_of(target.session)

    def batch(wire: Wire) -> list[bytes]:
        streams = [wire.next_stream() for _ in range(BATCH // 3)]
        watches = [(frame(HEADERS, END_HEADERS, it, opened), frame(DATA, END_STREAM, it, asked)) for it in streams]
        begun = [one for pair in watches for one in pair]
        # Some are told of their reset only after they have begun, in a batch of their own.
        if random.random() < 0.5:
            wire.send(begun)
            wire.read()
            wire.send(frame(RESET, 0, it, CANCEL) for it in streams)
            return [b""] * len(streams) * 3
        return begun + [frame(RESET, 0, it, CANCEL) for it in streams]

    return flood(target, count, batch)


@attack(60)
def dropped_workers(target: Target, count: int) -> int:
    """Workers that offer and vanish, and calls that nobody waits for."""
    serve, call = (block(f"/snakepit_bridge.v1.ToolService/{rpc}") for rpc in ("ServeTools", "CallTool"))
    offered = tool_pb2.OfferTools(request=1, tools=[tool_pb2.ToolSpec(name="t")])
    asked = message(tool_pb2.CallToolRequest(session_id=target.session, tool="t").SerializeToString())

    def batch(wire: Wire) -> list[bytes]:
        worker, caller = wire.next_stream(), wire.next_stream()
        hello = tool_pb2.WorkerHello(session_id=target.session, worker_id=f"w{random.randrange(9)}", max_concurrency=1)
        said = [tool_pb2.ServeToolsRequest(hello=hello), tool_pb2.ServeToolsRequest(offer=offered)]
        frames = [frame(HEADERS, END_HEADERS, worker, serve)]
        frames += [frame(DATA, 0, worker, message(one.SerializeToString())) for one in said]
        frames += [frame(HEADERS, END_HEADERS, caller, call), frame(DATA, END_STREAM, caller, asked)]
        wire.send(frames)
        wire.read()
        resets = [frame(RESET, 0, stream, CANCEL) for stream in (worker, caller)]
        wire.send(resets)
        return [b""] * (len(frames) + len(resets))

    return flood(target, count, batch)


@attack(80)
def half_open_streams(target: Target, count: int) -> int:
    """Streams that are never finished, some with half a message, beyond the limit of each connection."""
    sent = 0
    rpcs = [block(SERVICE + rpc) for rpc in ("SyncVariables", "WriteVariables", "WatchVariables")]
    rpcs.append(block("/snakepit_bridge.v1.ToolService/ServeTools"))
    half = message(b"\x0a" * 10, length=1_000)
    while sent < count:
        # So many at once, whatever the count, so that the server's memory can be compared.
        with contextlib.ExitStack() as stack:
            for wire in [stack.enter_context(Wire(target.address)) for _ in range(3)]:
                for stream in [wire.next_stream() for _ in range(300)]:
                    wire.send([frame(HEADERS, END_HEADERS, stream, random.choice(rpcs)), frame(DATA, 0, stream, half)])
                    sent += 2
                wire.settle()
    return sent


@attack(120)
def continuation_flood(target: Target, count: int) -> int:
    begun: set[int] = set()

    def batch(wire: Wire) -> list[bytes]:
        if id(wire) not in begun:
            begun.clear()
            begun.add(id(wire))
            return [frame(HEADERS, 0, wire.stream, block(SERVICE + "SyncVariables"))]
        # Literal headers without indexing, or none at all.
        some = b"\x00\x01a\x01b" * random.choice([0, 1, 2_000])
        return [frame(CONTINUATION, 0, wire.stream, some)] * 20

    return flood(target, count, batch)


@attack(20)
def great_headers(target: Target, count: int) -> int:
    one = block(SERVICE + "SyncVariables", junk="x" * 100_000)
    many = b"".join(
        block(SERVICE + "SyncVariables", **{f"junk-{index}": "x" for index in range(2_000)}) for _ in range(1)
    )
    # One entry of the table, again and again: a few bytes here, a gigabyte there.
    bomb = b"\x40\x01a" + b"\x7f\xa1\x1e" + b"x" * 4_000 + b"\xbe" * 60_000

    def batch(wire: Wire) -> list[bytes]:
        stream, headers = wire.next_stream(), random.choice([one, many, bomb])
        parts = [headers[at : at + 16_000] for at in range(0, len(headers), 16_000)]
        frames = [frame(HEADERS, 0, stream, parts[0])]
        frames += [frame(CONTINUATION, 0, stream, part) for part in parts[1:-1]]
        return [*frames, frame(CONTINUATION, END_HEADERS, stream, parts[-1])]

    return flood(target, count, batch)


@attack(60)
def messages_that_lie(target: Target, count: int) -> int:
    paths = [block(SERVICE + rpc) for rpc in ("SyncVariables", "WriteVariables", "WatchVariables", "None")]
    paths.append(block("/snakepit_bridge.v1.ToolService/ServeTools"))

    def batch(wire: Wire) -> list[bytes]:
        frames = []
        for _ in range(BATCH // 2):
            stream = wire.next_stream()
            content = random.choice([b"", b"\x0a\x01s", b"\xff" * 9, bytes(2_000), random.randbytes(30)])
            flag = random.choice([0, 0, 1, 2, 255])
            length = random.choice([None, 0, 5_000, 2**31, 2**32 - 1])
            said = message(content, flag=flag, length=length) * random.choice([1, 1, 2])
            frames.append(frame(HEADERS, END_HEADERS, stream, random.choice(paths)))
            frames.append(frame(DATA, END_STREAM, stream, said))
        return frames

    return flood(target, count, batch)


@attack(60)
def wrong_requests(target: Target, count: int) -> int:
    """Calls that are none: another content type, path, method; headers that are missing or forbidden."""
    rpc = SERVICE + "SyncVariables"
    blocks = [
        block(rpc, content_type="text/html"),
        block(rpc, content_type=""),
        block(rpc, pseudo_method="GET"),
        block(rpc, pseudo_method=""),
        block(rpc, pseudo_path=""),
        block(rpc, pseudo_scheme=""),
        block(rpc, pseudo_status="200"),
        block(rpc, connection="close"),
        block(rpc, transfer_encoding="chunked"),
        block(rpc, UPPER="case"),
        block(rpc, content_length="5"),
        block(rpc, grpc_timeout="99999999999H"),
        block(rpc, grpc_timeout="0n"),
        block(rpc, grpc_encoding="gzip"),
        block(rpc, snakepit_api_version="\u00ff" * 40),
        block("/"),
        block("*"),
        block("/" + "a" * 8_000),
        block("/snakepit_bridge.v1.VariableService/../%00"),
        block("http://elsewhere/" + rpc),
    ]

    def batch(wire: Wire) -> list[bytes]:
        streams = [wire.next_stream() for _ in range(10)]
        return [frame(HEADERS, END_HEADERS | END_STREAM, stream, random.choice(blocks)) for stream in streams]

    return flood(target, count, batch)


@attack(60)
def bad_compression(target: Target, count: int) -> int:
    def batch(wire: Wire) -> list[bytes]:
        headers = random.choice(
            [random.randbytes(40), b"\xff" * 40, b"\x3f\xff\xff\xff\xff\xff\x0f", b"\x80", b"\x00\xff"]
        )
        return [frame(HEADERS, END_HEADERS, wire.next_stream(), headers)]

    return flood(target, count // 6, batch)


@attack(40)
def windows_that_overflow(target: Target, count: int) -> int:
    opened, most = block(SERVICE + "WatchVariables"), struct.pack(">I", 2**31 - 1)

    def batch(wire: Wire) -> list[bytes]:
        stream = wire.next_stream()
        start = [frame(HEADERS, END_HEADERS, stream, opened)]
        return random.choice(
            [
                [*start, frame(WINDOW, 0, stream, most), frame(WINDOW, 0, stream, most)],
                [frame(WINDOW, 0, 0, most), frame(WINDOW, 0, 0, most)],
                [*start, frame(WINDOW, 0, stream, bytes(4))],
                [frame(WINDOW, 0, 0, bytes(4))],
                [frame(WINDOW, 0, 0, b"ab")],
                [
                    *start,
                    *[
                        frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, size))
                        for size in (2**31 - 1, 0, 2**31)
                    ],
                ],
            ]
        )

    return flood(target, count // 6, batch)


def _settings(_: Wire) -> list[bytes]:
    values = [0, 1, 65_535, 2**24, 2**31 - 1]
    chosen = [struct.pack(">HI", random.choice([1, 3, 4, 6, 8, 9, 999]), random.choice(values[:4])) for _ in range(5)]
    return [frame(SETTINGS, 0, 0, one) for one in chosen] * (BATCH // 5)


@attack(80)
def settings_flood(target: Target, count: int) -> int:
    return flood(target, count, _settings)


@attack(80)
def ping_flood(target: Target, count: int) -> int:
    return flood(target, count, lambda _: [frame(PING, 0, 0, random.randbytes(8))] * BATCH)


def _odd(wire: Wire) -> Iterator[bytes]:
    """Frames that nobody knows, and known ones where or as they may not be."""
    stream = random.choice([0, 1, 2, wire.stream, 2**31 - 1])
    yield frame(random.randrange(10, 256), random.randrange(256), stream, random.randbytes(random.choice([0, 9, 900])))
    if random.random() < 0.1:
        yield random.choice(
            [
                frame(DATA, END_STREAM, wire.next_stream(), b"x"),
                frame(DATA, PADDED, wire.stream, b"\xff"),
                frame(
                    HEADERS, END_HEADERS | WITH_PRIORITY, wire.stream, struct.pack(">IB", wire.stream, 1) + block("/")
                ),
                frame(HEADERS, END_HEADERS, 2, block("/")),
                frame(HEADERS, END_HEADERS, 0, block("/")),
                frame(PRIORITY, 0, 3, struct.pack(">IB", 3, 1)),
                frame(RESET, 0, 9_999, CANCEL),
                frame(RESET, 0, 0, CANCEL),
                frame(PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block("/")),
                frame(SETTINGS, ACK, 0, b"x"),
                frame(PING, 0, 0, b"short"),
                frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0) + b"x" * 9_000),
                frame(CONTINUATION, END_HEADERS, 1, b""),
                frame(DATA, 0, 1, bytes(20_000)),
                frame(HEADERS, END_HEADERS, wire.stream, b"", length=2**24 - 1),
            ]
        )


@attack(60)
def unknown_frames(target: Target, count: int) -> int:
    return flood(target, count, lambda wire: [one for _ in range(10) for one in _odd(wire)])


@attack(40)
def empty_frames(target: Target, count: int) -> int:
    opened = block(SERVICE + "SyncVariables")

    def batch(wire: Wire) -> list[bytes]:
        stream = wire.next_stream()
        return [frame(HEADERS, END_HEADERS, stream, opened)] + [frame(DATA, 0, stream)] * BATCH

    return flood(target, count, batch)


@attack(10)
def other_protocols(target: Target, count: int) -> int:
    """No preface, half of one, HTTP/1.1, TLS, anything; each on a connection of its own."""
    beginnings = [
        b"",
        PREFACE[:10],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        random.randbytes(99),
    ]
    for index in range(count):
        Wire(target.address, greeting=beginnings[index % len(beginnings)]).close()
    return count
