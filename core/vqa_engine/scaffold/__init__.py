"""`vqa-engine new-adapter`: writes a package with one adapter that passes its own tests.

The template is in `template/`, rendered by Jinja2: `pip install 'vqa-engine[template]'`.
Both names and contents of its files are templates; the suffix `.jinja` is removed.
"""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from vqa_engine.errors import ConfigurationError, OutputError
from vqa_engine.files import replace, writing
from vqa_engine.interpreter import version

TEMPLATE = Path(__file__).with_name("template")
_ENDING = ".jinja"

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_PREFIX = "vqa-engine-"


@frozen(kw_only=True)
class Names:
    """What one adapter is called in each place.

    `adapter` is the entry point, `package` the distribution, `module` what is imported,
    `class_name` the class; `engine` is the release of vqa-engine that it is written for.
    """

    adapter: str
    package: str
    module: str
    class_name: str
    engine: str

    @classmethod
    def of(cls, name: str) -> Names:
        """The names derived from one, with or without the prefix `vqa-engine-`.

        Raises:
            ConfigurationError: no package can be called that.
        """
        plain = name.removeprefix(_PREFIX)
        adapter = plain.replace("-", "_")
        if not _NAME.fullmatch(plain) or keyword.iskeyword(adapter):
            raise ConfigurationError(
                f"{name!r} is not a valid adapter name; use lower-case letters, digits and "
                "hyphens, as in colour-average."
            )
        package = f"{_PREFIX}{adapter.replace('_', '-')}"
        words = adapter.split("_")
        return cls(
            adapter=adapter,
            package=package,
            module=package.replace("-", "_"),
            class_name="".join(word.capitalize() for word in words),
            engine=_release(),
        )


def new_adapter(name: str, folder: Path | None = None) -> Path:
    """Write the package, and return its folder; by default one of its name, here.

    Raises:
        ConfigurationError: the name is not valid, the folder is not empty, or Jinja2 is
            not installed.
        OutputError: a file cannot be written; no other is left.
    """
    names = Names.of(name)
    target = folder or Path(names.package)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(
            f"{target} already exists and is not an empty folder; choose another --output."
        )
    was_there = target.exists()
    try:
        for file, text in _rendered(names):
            path = target / file
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, [text.encode()])
    except OutputError:
        _empty(target, remove=not was_there)
        raise
    return target


def _empty(folder: Path, *, remove: bool) -> None:
    """Take away a part of a package, which the same command would take for somebody's."""
    for path in folder.iterdir() if folder.exists() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if remove:
        shutil.rmtree(folder, ignore_errors=True)


def _rendered(names: Names) -> Iterator[tuple[str, str]]:
    """Each file of the package: its path and its text."""
    environment = _environment()
    facts = asdict(names)
    for file in sorted(path for path in TEMPLATE.rglob("*") if path.is_file()):
        name = environment.from_string(str(file.relative_to(TEMPLATE))).render(facts)
        text = environment.from_string(file.read_text("utf-8")).render(facts)
        yield name.removesuffix(_ENDING), text


def _environment() -> Any:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "The template needs Jinja2: pip install 'vqa-engine[template]'"
        ) from error
    return jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


def _release() -> str:
    """The major and minor version of this vqa-engine, which a new adapter requires."""
    return ".".join(version().split(".")[:2])
