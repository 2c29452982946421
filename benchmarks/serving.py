"""Our server beside mlx-vlm's own, on the embedded checkpoint: `python -m benchmarks.serving`.

Both run at once, each in its process, and are asked the same requests by turns: 1, 8 and 32 in
flight, one and five questions about each picture, in the order in which a question set has
them. Medians of `--rounds` rounds of `--requests` requests. `--soak N` asks our server N
requests instead, and prints how the memory of server and worker went.

To be run from the repository's root, for it borrows mlx-vlm's server of the tests.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from pathlib import Path
from threading import local
from typing import Any
from urllib.request import urlopen

import psutil
from attrs import frozen
from PIL import Image
from tests.http import mlx_server

from vqa_engine import load_questions
from vqa_engine.adapter import Question
from vqa_engine.images import open_image
from vqa_engine_adapters.builtin import CHECKPOINT

INSTRUCTION = "\nGive a very brief answer."
IN_FLIGHT = (1, 8, 32)
PER_PICTURE = (1, 5)
START = 120.0
"""Seconds that a server may take until it answers."""


@frozen
class Target:
    """A server at a port of this machine, and the name that it knows the model by."""

    name: str
    port: int
    model: str
    process: psutil.Process

    def busy(self) -> float:
        """Processor seconds so far, those of its workers included."""
        processes = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in processes)

    def bodies(self, questions: Sequence[Question]) -> list[bytes]:
        """One request for each question."""
        return [json.dumps(_body(self.model, question)).encode() for question in questions]


_connections = local()


def ask(port: int, body: bytes) -> str:
    """The answer to one request, over a connection that this thread keeps."""
    kept: dict[int, http.client.HTTPConnection] = _connections.__dict__.setdefault("kept", {})
    connection = kept.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=120))
    headers = {"content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
    except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
        connection.close()  # the server closed it while the other one was asked
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise SystemExit(f"port {port}: status {response.status}: {answer}")
    return str(answer["choices"][0]["message"]["content"]).strip()


def seconds(target: Target, questions: Sequence[Question], pool: ThreadPoolExecutor) -> float:
    """How long all of these take, as many at one time as the pool has threads."""
    bodies = target.bodies(questions)
    started = time.perf_counter()
    list(pool.map(lambda body: ask(target.port, body), bodies))
    return time.perf_counter() - started


def pictures(per_picture: int) -> Iterator[Question]:
    """Questions of the built-in set, so many about each picture, without end."""
    for seed in count(1):
        seen: dict[object, list[Question]] = {}
        for question in load_questions(f"shapes:seed={seed},count=2000"):
            group = seen.setdefault(question.image_id, [])
            group.append(question)
            if len(group) == per_picture:
                yield from group


def compare(targets: Sequence[Target], requests: int, rounds: int) -> None:
    """The table. Processor time tells more than the clock where others use the machine, too."""
    names = [target.name for target in targets]
    print(f"{'':<28}{'requests/s':^32}{'processor ms a request':^32}")
    print(f"{'':<28}" + f"{names[0]:>12}{names[1]:>12}{'ratio':>8}" * 2)
    for per_picture in PER_PICTURE:
        stream = pictures(per_picture)
        for in_flight in IN_FLIGHT:
            taken: dict[str, list[float]] = {name: [] for name in names}
            before = [target.busy() for target in targets]
            with ThreadPoolExecutor(in_flight) as pool:
                for number in range(rounds):
                    questions = list(islice(stream, requests))
                    for target in targets if number % 2 else reversed(targets):
                        taken[target.name].append(seconds(target, questions, pool))
            busy = [target.busy() - then for target, then in zip(targets, before, strict=True)]
            ours, theirs = (requests / statistics.median(one) for one in taken.values())
            our_ms, their_ms = (1000 * one / requests / rounds for one in busy)
            print(
                f"{f'{per_picture} per picture, {in_flight} in flight':<28}"
                f"{ours:>12.1f}{theirs:>12.1f}{ours / theirs:>8.2f}"
                f"{our_ms:>12.1f}{their_ms:>12.1f}{our_ms / their_ms:>8.2f}",
                flush=True,
            )


def soak(target: Target, requests: int) -> None:
    """Memory of server and worker, and bytes that the model's library holds, on the way."""
    print(f"{'requests':>9}{'server MiB':>12}{'worker MiB':>12}{'peak bytes':>12}{'seconds':>9}")
    stream, step, started = pictures(5), max(1, requests // 10), time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        for done in range(step, requests + 1, step):
            seconds(target, list(islice(stream, step)), pool)
            worker = max(target.process.children(), key=lambda one: one.memory_info().rss)
            sizes = [one.memory_info().rss / 2**20 for one in (target.process, worker)]
            taken = time.perf_counter() - started
            print(f"{done:>9}{sizes[0]:>12.1f}{sizes[1]:>12.1f}{_peak(target):>12}{taken:>9.0f}")


def _peak(target: Target) -> int:
    """What the model's library held at most during one more question, always the same one."""
    picture = Image.new("RGB", (64, 64), "red")
    question = Question(question_id=0, image=picture, text="What colour is the square?")
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=120)
    connection.request("POST", "/v1/chat/completions", target.bodies([question])[0])
    return int(json.loads(connection.getresponse().read())["vqa_engine"]["peak"])


def _body(model: str, question: Question) -> dict[str, Any]:
    buffer = io.BytesIO()
    open_image(question).save(buffer, "PNG", compress_level=1)
    url = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": question.text + INSTRUCTION},
    ]
    messages = [{"role": "user", "content": content}]
    return {"model": model, "messages": messages, "max_tokens": 8, "temperature": 0}


@contextmanager
def our_server() -> Iterator[Target]:
    """`vqa-engine serve`, as a user starts it."""
    port = mlx_server.free_port()
    command = [str(Path(sys.executable).with_name("vqa-engine")), "serve", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield Target("vqa-engine", port, "smolvlm", psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def mlx_vlm_server() -> Iterator[Target]:
    """mlx-vlm's own server, with its own defaults."""
    port = mlx_server.free_port()
    command = [sys.executable, "-m", "mlx_vlm.server", "--model", str(CHECKPOINT)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "ERROR"]
    quiet = subprocess.DEVNULL
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
    try:
        yield Target("mlx-vlm", port, str(CHECKPOINT), psutil.Process(process.pid))
    finally:
        process.kill()
        process.wait()


def wait_for(target: Target) -> None:
    """Until it has answered, and so loaded its model."""
    until = time.monotonic() + START
    while True:
        try:
            urlopen(f"http://127.0.0.1:{target.port}/v1/models", timeout=5).close()
            break
        except OSError:
            if time.monotonic() > until:
                raise SystemExit(f"{target.name} does not listen") from None
            time.sleep(0.2)
    for body in target.bodies(list(islice(pictures(1), 4))):
        ask(target.port, body)


def main() -> None:
    """Print the table, or the soak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--soak", type=int, metavar="N")
    given = parser.parse_args()
    with ExitStack() as stack:
        ours = stack.enter_context(our_server())
        wait_for(ours)
        if given.soak:
            soak(ours, given.soak)
            return
        theirs = stack.enter_context(mlx_vlm_server())
        wait_for(theirs)
        compare((ours, theirs), given.requests, given.rounds)


if __name__ == "__main__":
    main()
