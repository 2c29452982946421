"""Where an adapter's code comes from: distribution, version, a hash of its files, libraries.

The adapter is not imported here. What only its interpreter knows, or only its import shows,
another process is asked: `python -m vqa_engine.runs.provenance NAME TARGET`.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from attrs import field, frozen

from vqa_engine.errors import AdapterError, InterpreterError, VqaEngineError
from vqa_engine.interpreter import Interpreter, say
from vqa_engine.memory import backends
from vqa_engine.plugins.entry_points import ADAPTERS, Plugin, find, select
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.worker.apart import sight_of

log = logging.getLogger(__name__)

LONGEST = 60
"""Seconds that another interpreter may take to answer."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
"""The name at the start of a requirement (PEP 508)."""

_CODE = (".py", *EXTENSION_SUFFIXES)


@frozen(kw_only=True)
class Origin:
    """Where an adapter comes from; None where nobody knows.

    `distribution` and `version` are None for a class that is no plugin. `sha256` (hex) is
    over the code files beside the adapter's module, its package's folder and all below it,
    or over the module alone when it is in no package. `libraries` are the versions of Python
    and of the packages that can change an answer.
    """

    distribution: str | None = None
    version: str | None = None
    sha256: str | None = None
    libraries: Mapping[str, str] = field(factory=dict)


def origin(spec: AdapterSpec) -> Origin:
    """The origin of a spec's adapter, in the interpreter that will run it."""
    return _here(spec) if spec.python is None else _asked(spec)


@cache
def default_model(name: str, python: Path | None) -> tuple[str | None, str | None]:
    """The checkpoint that a plugin loads when none is named, and its revision, as far as known."""
    try:
        seen = sight_of(AdapterSpec(name=name, python=python))
    except VqaEngineError as error:
        log.info("the default model of %s is not known: %s", name, error)
        return None, None
    return seen.default_model, seen.default_revision


def libraries(distribution: metadata.Distribution | None = None) -> dict[str, str]:
    """The installed versions of packages that can change an answer; one that is absent has
    no key.

    These are Pillow, what the memory backends name, and what an adapter's distribution requires.
    """
    names = {"Pillow", *backends.distributions(), *_required(distribution)}
    return {name: known for name in sorted(names) if (known := version(name))}


def version(distribution: str) -> str | None:
    """The installed version of a distribution, None also where its metadata cannot be read."""
    try:
        return metadata.version(distribution)
    except Exception:  # noqa: BLE001  whatever a damaged file makes of its reader
        return None


def _required(distribution: metadata.Distribution | None) -> Iterator[str]:
    """The names of the packages that a distribution needs, extras left out.

    vqa-engine's own draw progress bars and parse options; no answer depends on them.
    """
    try:
        others = distribution is not None and distribution.name != "vqa-engine"
        needed = (distribution.requires if distribution and others else None) or ()
    except Exception:  # noqa: BLE001  as in `version`
        return
    for requirement in needed:
        name = _NAME.match(requirement)
        if name and "extra ==" not in requirement and name[0] != "vqa-engine":
            yield name[0]


def _here(spec: AdapterSpec) -> Origin:
    try:
        plugin = _plugin(spec)
    except AdapterError:
        return Origin()  # creating the adapter shows what is wrong
    if plugin is None:
        return Origin(sha256=code_hash(spec.target or ""), libraries=_python() | libraries())
    return Origin(
        distribution=plugin.distribution,
        version=plugin.version,
        sha256=code_hash(plugin.target),
        libraries=_python() | libraries(plugin.entry_point.dist),
    )


def _plugin(spec: AdapterSpec) -> Plugin | None:
    """The plugin of a spec, also of one that names it by its class; None for another class."""
    if spec.target is None:
        return select(ADAPTERS, spec.name)
    named = (spec.name, spec.target)
    return next((one for one in find(ADAPTERS) if (one.name, one.target) == named), None)


def _python() -> dict[str, str]:
    return {"python": platform.python_version()}


def code_hash(target: str) -> str | None:
    """SHA-256 (hex) of the code behind `module:name`, None where it has no files."""
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
        if file.name.endswith(_CODE) and file.is_file():
            yield file.relative_to(folder).as_posix(), file


def _asked(spec: AdapterSpec) -> Origin:
    """What another process says; one that cannot run says why when its worker starts."""
    arguments = (spec.name, spec.target or "")
    try:
        return Interpreter.of(spec.label, spec.python).ask(
            "vqa_engine.runs.provenance", *arguments, kind=Origin, longest=LONGEST
        )
    except InterpreterError as error:
        log.info("the origin of %s is not known: %s", spec.name, error)
        return Origin()


if __name__ == "__main__":
    _name, _target = sys.argv[1:3]
    _spec = AdapterSpec(name=_name, target=_target or None)
    say(origin(_spec))
