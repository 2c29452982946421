"""Workers that speak nonsense at random: the host blames the worker, and goes on.

    python benchmarks/fuzz_wire.py [--seconds 300] [--seed N]

Each worker says what a real one would, spoilt: other kinds of message, doubled, truncated, deep,
huge, with numbers out of range, with fields that are not there. A load that fails is an error of
ours, a question that fails is a failed reply, the next question is asked, and no process is
left. Whatever else happens is printed with its seed, and the exit code is 1.
"""

from __future__ import annotations

import logging
import random
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import click
import msgspec
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.worker.parrot import HELLO, LEFT, REFUSED, framed, parrot, ready, said

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.errors import VqaEngineError
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker import Limits, Timeouts, WorkerSession
from vqa_engine.worker.messages import Begun, encode_to_host
from vqa_engine.worker.wire import HEADER, MAGIC

SLOW = 20.0
"""Seconds for one worker's whole life; a hang would be longer."""

TIMEOUTS = Timeouts(load=2, answer=2, stop=0.5)

VALUES: tuple[Any, ...] = (
    *(None, -1, 0, 1 << 40, -(1 << 63), (1 << 64) - 1, 1e308, float("nan"), float("inf")),
    *(True, "", "text", "\x1b[2J", b"\xff", [], {}, [[]], {"type": "said"}, "x" * 100_000),
)


def spoilt(message: Any, chance: random.Random) -> bytes:
    """A message as a bad worker says it: one frame or several, or none."""
    data = encode_to_host(message)
    kind = chance.choice((_value, _value, _value, _bytes, _cut, _twice, _other, _deep, _lie))
    return kind(data, chance)


def _value(data: bytes, chance: random.Random) -> bytes:
    """One value, key or item is another."""
    record = msgspec.msgpack.decode(data)
    places = list(_places(record))
    holder, key = chance.choice(places)
    if isinstance(holder, dict) and chance.random() < 0.3:
        holder[chance.choice(("more", "type", "turn", "notes"))] = chance.choice(VALUES)
    elif isinstance(holder, dict) and chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    try:
        return framed(msgspec.msgpack.encode(record))
    except UnicodeEncodeError:
        return framed(data)


def _places(record: Any) -> Any:
    if isinstance(record, dict):
        for key, value in record.items():
            yield record, key
            yield from _places(value)
    elif isinstance(record, list):
        for place, value in enumerate(record):
            yield record, place
            yield from _places(value)


def _bytes(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(framed(data))
    for _ in range(chance.choice((1, 3, 20))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return framed(data)[: chance.randrange(len(data) + HEADER.size)]


def _twice(data: bytes, chance: random.Random) -> bytes:
    return framed(data) * chance.choice((2, 3, 1000))


def _other(_data: bytes, chance: random.Random) -> bytes:
    others = (HELLO, ready(), LEFT, REFUSED, said(), said(turn=9), *map(Begun, (-1, 1, 1 << 60)))
    return framed(chance.choice(others))


def _deep(_data: bytes, chance: random.Random) -> bytes:
    opening = chance.choice((b"\x91", b"\x81\xa1a"))
    return framed(opening * chance.choice((10, 1_000, 100_000)) + b"\xc0")


def _lie(data: bytes, chance: random.Random) -> bytes:
    """A length that is not the message's."""
    length = chance.choice((0, len(data) - 1, len(data) + 1, 1 << 30, (1 << 32) - 1))
    return HEADER.pack(MAGIC, length) + data


def worker(folder: Path, chance: random.Random) -> Path:
    """An interpreter whose worker says what a real one would, with one message spoilt."""
    script = [HELLO, ready(), said(), said(turn=2), said(turn=3), LEFT]
    frames = [framed(message) for message in script]
    bad = chance.randrange(len(script))
    frames[bad] = spoilt(script[bad], chance)
    return parrot(folder, frames)


def attempt(seed: int) -> str:
    """Run one bad worker through a session; "" if the host did well, else what it did."""
    chance, begun, before = random.Random(seed), monotonic(), set(psutil.Process().children())
    with TemporaryDirectory(prefix="vqa-engine-") as folder:
        spec = AdapterSpec(
            name="fuzz", label="fuzz", target="fuzz:Fuzz", python=worker(Path(folder), chance)
        )
        limits = Limits(workers=2, loads=2)
        session = WorkerSession(spec, timeouts=TIMEOUTS, limits=limits)
        try:
            session.load()
            for number in range(2):
                question = Question(question_id=number, image=b"", text="?")
                [(asked, reply)] = session.ask([question], GenerationPlan())
                if asked is not question or (reply.answer is None) == (reply.failure is None):
                    return f"seed {seed}: a reply without an answer or a failure"
        except VqaEngineError as error:
            if "\n" in str(error):
                return f"seed {seed}: more than one line: {error}"
        except BaseException:  # noqa: BLE001  that is what is looked for
            return f"seed {seed}\n{traceback.format_exc()}"
        finally:
            session.release()
        if left := set(psutil.Process().children()) - before:
            return f"seed {seed}: left behind: {left}"
    took = monotonic() - begun
    return f"seed {seed}: it took {took:.0f} s" if took > SLOW else ""


@click.command(help=__doc__)
@click.option("--seconds", default=300.0, show_default=True)
@click.option("--seed", default=0, show_default=True, help="The first one.")
def main(seconds: float, seed: int) -> None:
    """Try seed after seed until the time is over."""
    logging.disable(logging.ERROR)
    found, begun, first = 0, monotonic(), seed
    while monotonic() - begun < seconds:
        if failure := attempt(seed):
            found += 1
            click.echo(failure)
        seed += 1
    click.echo(f"{seed - first} bad workers, {found} failures")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
