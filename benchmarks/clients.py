"""Real clients against our server: `python -m benchmarks.clients [curl openai llm inspect]`.

Each client is installed into an environment of its own, below `--environments`, and runs the
snippets of docs/serve.md as they are written there. `openai` also runs
`benchmarks/openai_client.py`, which validates every response. The default port must be free.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

from PIL import Image

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "serve.md"
URL = "http://127.0.0.1:8931"
RIGHT = "red"

PACKAGES = {
    "curl": (),
    "openai": ("openai",),
    "llm": ("llm",),
    "Inspect": ("inspect-ai", "openai"),
}
"""What each section of the page needs."""

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(client: str) -> list[tuple[str, str]]:
    """(language, code) of a section's blocks, in their order."""
    _, *parts = _SECTION.split(PAGE.read_text("utf-8"))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    return _BLOCK.findall(sections[client])


def environment(folder: Path, client: str) -> dict[str, str]:
    """Variables under which a client's own programs come first; it is installed if need be."""
    place = folder / client.lower()
    if not (place / "bin" / "python").exists():
        venv.create(place, with_pip=True)
    if PACKAGES[client]:
        python = str(place / "bin" / "python")
        command = [python, "-m", "pip", "install", "--quiet", *PACKAGES[client]]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    kept = {key: value for key, value in os.environ.items() if "API_KEY" not in key}
    return {**kept, "PATH": f"{place / 'bin'}:{kept['PATH']}", "LLM_USER_PATH": str(place / "llm")}


def run(client: str, folder: Path) -> str:
    """All of a client's snippets, in a folder with the picture; what they print."""
    variables, printed = environment(folder, client), ""
    Path(variables["LLM_USER_PATH"]).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        Image.new("RGB", (96, 96), RIGHT).save(Path(place) / "kitchen.jpg")
        for language, code in snippets(client):
            if language == "python":
                name = code.partition("\n")[0].removeprefix("# ")
                (Path(place) / name).write_text(code)
            else:
                printed += _output(["bash", "-euc", code], place, variables)
        if client == "openai":
            script = str(HERE / "openai_client.py")
            command = ["python", script, f"{URL}/v1", "smolvlm", "kitchen.jpg"]
            printed += _output(command, place, variables)
    return printed


def _output(command: list[str], place: str, variables: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=place, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def right(client: str, printed: str) -> bool:
    """Whether the answer is in what was printed; Inspect prints its score alone."""
    if client == "Inspect":
        return re.search(r"accuracy\W+1\.0", printed) is not None
    return RIGHT in printed.lower()


@contextmanager
def server() -> Iterator[None]:
    """`vqa-engine serve`, as the page starts it."""
    program = str(Path(sys.executable).with_name("vqa-engine"))
    variables = {key: value for key, value in os.environ.items() if "API_KEY" not in key}
    process = subprocess.Popen([program, "serve"], env=variables)
    try:
        _wait_for(process)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes]) -> None:
    until = monotonic() + 60
    while True:
        try:
            urlopen(f"{URL}/health", timeout=5).close()
        except OSError:
            if process.poll() is not None or monotonic() > until:
                raise SystemExit("the server did not start") from None
            sleep(0.2)
        else:
            return


def main() -> None:
    """Say of each client whether its snippets gave the right answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*", default=list(PACKAGES))
    parser.add_argument("--environments", type=Path, default=Path("/tmp/vqa-engine-clients"))
    given = parser.parse_args()
    names = {name.lower(): name for name in PACKAGES}
    with server():
        for client in (names[name.lower()] for name in given.clients):
            printed = run(client, given.environments)
            ended = "the right answer" if right(client, printed) else f"WRONG:\n{printed}"
            print(f"{client:<10}{ended}", flush=True)


if __name__ == "__main__":
    main()
