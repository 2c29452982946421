"""The BLAS that MLX multiplies float32 matrices with on Linux, and a faster one.

MLX's Linux wheel brings the plain reference BLAS. A library that is opened before MLX, with
its names visible to all, is found first, so an OpenBLAS that is on the machine can stand in.
The other interpreter of a worker is asked for the one it finds: `python -m vqa_engine.blas`.
"""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vqa_engine.errors import ConfigurationError
from vqa_engine.interpreter import Interpreter, say

Blas = Literal["off", "auto"] | Path
"""Which BLAS workers get: MLX's own, the first OpenBLAS that works, or this library."""

LONGEST = 60
"""Seconds that a trial may take; on an idle machine it takes 0.05."""

MATHEMATICS = ("blas", "lapack", "mkl", "accelerate")
"""What the file names of libraries for matrix products have in them."""

REFERENCE = ("libblas-", "libblas.")
"""The plain BLAS: 2 GFLOP/s in float32 where OpenBLAS does 62 (shared/facts/memory.md)."""

SYSTEM = (
    "usr/lib/*/openblas-*/libopenblas.so.0",  # Debian
    "usr/lib64/libopenblasp.so.0",  # Fedora
    "usr/lib/libopenblas.so.0",
    "usr/local/lib/libopenblas.so.0",
)
BUNDLED = "*.libs/libopenblas*.so*"
"""What wheels bring along (opencv-python does). numpy's and scipy's has other names inside."""

INSTALL = "apt install libopenblas0-pthread"

TRIAL = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.sgemm_
library.openblas_get_config.restype = ctypes.c_char_p
if b"USE64BITINT" in library.openblas_get_config():
    sys.exit("its integers have 64 bits, and MLX's have 32")
left, product = (ctypes.c_float * 4)(1, 2, 3, 4), (ctypes.c_float * 4)()
one, zero = ctypes.c_float(1), ctypes.c_float(0)
library.cblas_sgemm(101, 111, 111, 2, 2, 2, one, left, 2, left, 2, zero, product, 2)
if list(product) != [7, 10, 15, 22]:
    sys.exit("it multiplies wrongly")
"""
"""Opens a library and multiplies by it, in a process that it may bring down."""

log = logging.getLogger(__name__)


def chosen(blas: Blas, interpreter: Interpreter) -> Path | None:
    """The library that stands in for MLX's in a worker of this interpreter, None for none.

    Raises:
        ConfigurationError: the library that was asked for does not work.
        InterpreterError: the interpreter is asked and does not say.
    """
    if blas == "off":
        return None
    if blas == "auto":
        return found() if interpreter.ours else _found_by(interpreter)
    asked = Path(blas).expanduser().absolute()
    if problem := trouble(asked):
        raise ConfigurationError(
            f"The BLAS {asked} cannot be used: {problem}. Give the path of an OpenBLAS "
            f"(Debian: {INSTALL}), `auto`, or `off`."
        )
    return asked.resolve()


def found() -> Path | None:
    """The first candidate that works here, with links resolved; None where none does."""
    return next((path.resolve() for path in candidates() if not trouble(path)), None)


def candidates() -> Iterator[Path]:
    """OpenBLAS libraries in the usual places, untried: the system's, then packages'."""
    if sys.platform != "linux":
        return
    for pattern in SYSTEM:
        yield from sorted(Path("/").glob(pattern))
    for folder in dict.fromkeys(sys.path):
        yield from sorted(Path(folder).glob(BUNDLED))


def trouble(library: Path) -> str:
    """Why a library cannot stand in, empty if it can; tried in a process of its own."""
    if sys.platform != "linux":
        return "MLX takes another BLAS on Linux only"
    if not library.is_file():
        return "there is no such file"
    command = [sys.executable, "-I", "-S", "-c", TRIAL, str(library)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the trial failed: {error}"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return (said[-1] if said else f"the trial ended with {done.returncode}") * bool(done.returncode)


def take(library: Path) -> None:
    """Have MLX multiply by this library; to be called before MLX is imported.

    Raises:
        ConfigurationError: it cannot be opened.
    """
    if "mlx.core" in sys.modules and not _stands_in():
        log.warning("MLX was imported before %s could stand in, and keeps its BLAS", library)
        return
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ConfigurationError(f"The BLAS {library} cannot be opened: {error}.") from error


def mapped() -> tuple[str, ...]:
    """File names of the loaded libraries for matrix products; empty where nobody tells."""
    return tuple(sorted({file.name for file in _mapped()}))


def advice() -> str:
    """How to multiply faster, once MLX is imported; empty where nothing is to be gained."""
    slow = any(f.name.startswith(REFERENCE) and "openblas" not in str(f) for f in _mapped())
    if not slow or _stands_in():
        return ""
    here = next(candidates(), None)
    remedy = f"{INSTALL}, then --blas auto" if here is None else f"--blas auto takes {here}"
    return (
        "MLX multiplies float32 matrices with the slow reference BLAS here; "
        f"for larger models OpenBLAS is up to 30 times as fast: {remedy}"
    )


def _found_by(interpreter: Interpreter) -> Path | None:
    path = interpreter.ask(__name__, kind=str, longest=LONGEST)
    return Path(path) if path else None


def _stands_in() -> bool:
    """Whether the names are visible to all, so that MLX finds them before its own."""
    return hasattr(ctypes.CDLL(None), "cblas_sgemm")


def _mapped() -> set[Path]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return set()
    lines = maps.read_text("utf-8", "replace").splitlines()
    files = {Path(line.split(maxsplit=5)[-1]) for line in lines if "/" in line}
    return {f for f in files if any(word in f.name.lower() for word in MATHEMATICS)}


if __name__ == "__main__":
    say(str(found() or ""))
