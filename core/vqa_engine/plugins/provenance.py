"""Where an adapter's code comes from: distribution, version, and a hash of its files.

Nothing is imported. For an adapter of another interpreter, that interpreter is asked:
`python -m vqa_engine.plugins.provenance NAME TARGET`.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from vqa_engine.errors import AdapterError, InterpreterError
from vqa_engine.interpreter import Interpreter, say
from vqa_engine.plugins.entry_points import ADAPTERS, select
from vqa_engine.plugins.spec import AdapterSpec

log = logging.getLogger(__name__)

LONGEST = 60
"""Seconds that another interpreter may take to answer."""

CODE = (".py", *EXTENSION_SUFFIXES)


@frozen(kw_only=True)
class Origin:
    """Where an adapter comes from; None where nobody knows.

    `distribution` and `version` are None for a class that is no plugin. `sha256` (hex) is
    over the code files beside the adapter's module, its package's folder and all below it,
    or over the module alone when it is in no package.
    """

    distribution: str | None = None
    version: str | None = None
    sha256: str | None = None


def origin(spec: AdapterSpec) -> Origin:
    """The origin of a spec's adapter, in the interpreter that will run it."""
    if spec.python is not None:
        return _elsewhere(spec)
    if spec.target is not None:
        return Origin(sha256=code_hash(spec.target))
    try:
        plugin = select(ADAPTERS, spec.name)
    except AdapterError:
        return Origin()  # making the adapter tells what is wrong
    return Origin(
        distribution=plugin.distribution, version=plugin.version, sha256=code_hash(plugin.target)
    )


def code_hash(target: str) -> str | None:
    """SHA-256 (hex) of the code behind `module:name`, None when there are no files."""
    files = list(_files(target.partition(":")[0]))
    digest = hashlib.sha256()
    for name, file in sorted(files):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest() if files else None


def _files(module: str) -> Iterator[tuple[str, Path]]:
    """Code files by their names relative to the adapter's folder.

    `find_spec` imports the parents of a dotted name, so it is asked for the first part only.
    """
    top, *rest = module.split(".")
    spec = None if top == "__main__" else find_spec(top)
    if spec is None:
        return
    if not spec.submodule_search_locations:
        file = Path(spec.origin or "")
        yield from [(file.name, file)] if file.is_file() else []
        return
    for root in spec.submodule_search_locations:
        yield from _below(Path(root, *rest))


def _below(module: Path) -> Iterator[tuple[str, Path]]:
    """The code of a package, or of the package that a module is in."""
    folder = module if module.is_dir() else module.parent
    for file in folder.rglob("*"):
        if file.name.endswith(CODE) and file.is_file():
            yield file.relative_to(folder).as_posix(), file


def _elsewhere(spec: AdapterSpec) -> Origin:
    """The word of another interpreter; one that cannot run says why when its worker starts."""
    arguments = (spec.name, spec.target or "")
    try:
        return Interpreter.of(spec.label, spec.python).ask(
            "vqa_engine.plugins.provenance", *arguments, kind=Origin, longest=LONGEST
        )
    except InterpreterError as error:
        log.info("nobody says where %s comes from: %s", spec.name, error)
        return Origin()


if __name__ == "__main__":
    _name, _target = sys.argv[1:3]
    _found = origin(AdapterSpec(name=_name, target=_target or None))
    say(_found)
