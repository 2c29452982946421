"""Real clients against our server: `python -m benchmarks.clients [curl openai llm inspect …]`.

Each client is installed into an environment of its own, below `--environments`, and runs the
snippets of docs/serve.md as they are written there. `openai` also runs
`benchmarks/openai_client.py`, which validates every response. The default port must be free.

lmms-eval and VLMEvalKit use the torch of the interpreter that runs this script. VLMEvalKit is
on no index: `--vlmevalkit` names a checkout, and without it this client is left out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

from attrs import frozen
from PIL import Image

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "serve.md"
URL = "http://127.0.0.1:8931"
RIGHT = "red"
KIT = "VLMEvalKit"


@frozen
class Client:
    """What a section of the page needs.

    A client that `borrows` sees our own packages, and gets no other torch than ours. `apart`
    is installed without what it says it needs, which is gigabytes.
    """

    packages: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    borrows: bool = False
    right: str = RIGHT


LMMS_EVAL = (
    *("datasets", "evaluate", "loguru", "openai", "pytablewriter", "python-dotenv"),
    *("pytz", "sacrebleu", "tenacity"),
)
"""What lmms-eval imports on its way to an OpenAI-compatible server."""

CLIENTS = {
    "curl": Client(),
    "openai": Client(("openai",)),
    "llm": Client(("llm",)),
    "Inspect": Client(("inspect-ai", "openai"), right=r"accuracy\W+1\.0"),
    "lmms-eval": Client(LMMS_EVAL, ("lmms_eval",), borrows=True, right=r"exact_match\W+1\W"),
    "VLMEvalKit": Client(borrows=True, right=r"\tred\n.*red$"),
}

OPERATORS = """\
import torch

for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
"""
"""A torchvision that was built for CUDA imports beside a torch for the CPU only if its operators
are declared. VLMEvalKit's video benchmarks import it."""

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(bash|python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(client: str) -> list[tuple[str, str]]:
    """(language, code) of a section's blocks, in their order."""
    _, *parts = _SECTION.split(PAGE.read_text("utf-8"))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    return _BLOCK.findall(sections[client])


def environment(folder: Path, client: str, kit: Path | None) -> dict[str, str]:
    """Variables under which a client's own programs come first; it is installed if need be."""
    place = folder / client.lower()
    installed = place / "installed"  # an install that was interrupted begins again
    if not installed.exists():
        venv.create(place, clear=True, with_pip=True)
        _install(place, CLIENTS[client], kit)
        installed.touch()
    kept = {key: value for key, value in os.environ.items() if "API_KEY" not in key}
    return {**kept, "PATH": f"{place / 'bin'}:{kept['PATH']}", "LLM_USER_PATH": str(place / "llm")}


def _install(place: Path, client: Client, kit: Path | None) -> None:
    def pip(*given: str) -> None:
        command = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *given]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    limit: tuple[str, ...] = ()
    if client.borrows:
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(place)}))
        ours = (sysconfig.get_path("purelib"), *([str(kit.absolute())] if kit else ()))
        (packages / "borrowed.pth").write_text("\n".join(ours))
        (place / "constraints.txt").write_text(f"torch=={version('torch')}")
        limit = ("-c", str(place / "constraints.txt"))
    if client.packages:
        pip(*limit, *client.packages)
    if client.apart:
        pip("--no-deps", *client.apart)
    if kit:
        pip(*limit, "-r", str(kit / "requirements.txt"))
        (packages / "operators.py").write_text(OPERATORS)
        (packages / "operators.pth").write_text("import operators")


def run(client: str, folder: Path, kit: Path | None) -> str:
    """All of a client's snippets, in a folder with the picture; what they print."""
    variables, printed = environment(folder, client, kit), ""
    Path(variables["LLM_USER_PATH"]).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        Image.new("RGB", (96, 96), RIGHT).save(Path(place) / "kitchen.jpg")
        if kit:
            (Path(place) / KIT).symlink_to(kit.absolute())
        for language, code in snippets(client):
            if language == "bash":
                printed += _output(["bash", "-euc", code], place, variables)
            else:
                file = Path(place, code.partition("\n")[0].removeprefix("# "))
                file.parent.mkdir(exist_ok=True)
                file.write_text(code)
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
    """Whether what was printed has the right answer, or the score of one."""
    found = re.search(CLIENTS[client].right, printed.strip(), re.IGNORECASE | re.DOTALL)
    return found is not None


@contextmanager
def server() -> Iterator[None]:
    """`vqa-engine serve`, as the page starts it."""
    program = str(Path(sys.executable).with_name("vqa-engine"))
    variables = {key: value for key, value in os.environ.items() if "API_KEY" not in key}
    command = [program, "serve", "--adapter", "smolvlm=smolvlm@builtin"]
    process = subprocess.Popen(command, env=variables)
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
    parser.add_argument("clients", nargs="*", default=list(CLIENTS))
    parser.add_argument("--vlmevalkit", type=Path, help="checkout of VLMEvalKit")
    parser.add_argument("--environments", type=Path, default=Path("/tmp/vqa-engine-clients"))
    given = parser.parse_args()
    names = {name.lower(): name for name in CLIENTS}
    with server():
        for client in (names[name.lower()] for name in given.clients):
            kit = given.vlmevalkit if client == KIT else None
            if client == KIT and kit is None:
                print(f"{client:<12}left out, for want of --vlmevalkit", flush=True)
                continue
            printed = run(client, given.environments, kit)
            ended = "the right answer" if right(client, printed) else f"WRONG:\n{printed}"
            print(f"{client:<12}{ended}", flush=True)


if __name__ == "__main__":
    main()
