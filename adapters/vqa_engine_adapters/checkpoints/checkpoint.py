"""From a `ModelRef` to a local folder that is known to hold a whole checkpoint."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import frozen

from vqa_engine.adapter import BUILTIN, ModelRef
from vqa_engine.errors import CheckpointError
from vqa_engine.files import at_home, read_regular
from vqa_engine_adapters.checkpoints import hub
from vqa_engine_adapters.checkpoints.headers import Tensor, read_header
from vqa_engine_adapters.checkpoints.transfer import Report
from vqa_engine_adapters.families.family import Config, Family

log = logging.getLogger(__name__)

LARGEST = 256 << 20
"""Bytes of a configuration file; tokenizers of a million words have some 30 MB."""


@frozen(kw_only=True)
class Description:
    """What a checkpoint's configuration and weight headers say.

    `settings` is the processor's configuration with the image processor's entries on the
    same level, whichever files keep them. `tensors` are all stored tensors by name.
    """

    name: str
    config: Config
    settings: Config
    tensors: dict[str, Tensor]


@frozen(kw_only=True)
class Checkpoint(Description):
    """A folder whose configuration and weight headers have been read."""

    folder: Path


def resolve(family: Family, model: ModelRef) -> Checkpoint:
    """The checkpoint that `model` asks for: `builtin`, a local folder, or a hub id.

    A hub id is looked for in the local cache first, then on the hub.

    Raises:
        CheckpointError: it cannot be reached, or a file of it is missing or broken.
    """
    name, tried = _named(family, model), list[str]()
    checkpoint = _local(family, model, name, tried)
    if checkpoint is None:
        checkpoint = read(name, hub.download(name, model, tried))
    _check(family, checkpoint, model)
    return checkpoint


def fetch(family: Family, model: ModelRef, report: Report) -> None:
    """Bring what `resolve` would find to this machine, unless it is here.

    `report` hears how far it is. What was interrupted is continued.

    Raises:
        CheckpointError: it cannot be reached or stored, or a file of it is broken.
    """
    name, tried = _named(family, model), list[str]()
    if _local(family, model, name, tried) is None:
        hub.download(name, model, tried, report)


def describe(family: Family, model: ModelRef) -> Description:
    """What `resolve` would find, without downloading a weight.

    Of a model that is only on the hub, its few small files and the headers of its weights
    are fetched, and nothing is put into the hub's cache.

    Raises:
        CheckpointError: it cannot be reached, or a file of it is missing or broken.
    """
    name, tried = _named(family, model), list[str]()
    found: Description | None = _local(family, model, name, tried)
    if found is None:
        with TemporaryDirectory(prefix="vqa-engine-") as folder:
            tensors = hub.headers(name, model, Path(folder), tried)
            config, settings = _configuration(name, Path(folder))
        found = Description(name=name, config=config, settings=settings, tensors=tensors)
    _check(family, found, model)
    return found


def within_reach(family: Family, model: ModelRef) -> Description | None:
    """What `describe` gives; None where it is the family's default that is out of reach.

    Raises:
        CheckpointError: another checkpoint cannot be reached or read.
    """
    try:
        return describe(family, model)
    except CheckpointError as error:
        if family.model is None or (model.model or family.model) != family.model:
            raise
        _estimating(family.model, error.reason)
        return None


@cache
def _estimating(model: str, reason: str) -> None:
    """Said once: a command may ask for the same estimate several times."""
    log.warning("%s: the built-in estimate is used, for %s", model, reason)


def _named(family: Family, model: ModelRef) -> str:
    name = model.model or family.model
    if name is None:
        raise CheckpointError(
            "(none)",
            (),
            f"the adapter {family.adapter!r} has no default model",
            "Name one with --model: a hub id or a local folder.",
        )
    return name


def _local(family: Family, model: ModelRef, name: str, tried: list[str]) -> Checkpoint | None:
    """The checkpoint if it is here; None if only the hub can have it, and `tried` says why."""
    if name == BUILTIN:
        return read(name, _builtin(family))
    folder = at_home(name)
    if folder.is_dir():
        return read(name, folder)
    if _only_a_path(name):
        raise CheckpointError(name, (), "there is no such folder", "Check the path.")
    if "/" in name and folder.parent.is_dir():
        tried.append(_no_folder(folder))
    return _cached(model, name, tried)


def _no_folder(folder: Path) -> str:
    """That a name which may be a hub id is no folder here, and the one that was meant perhaps."""
    close = get_close_matches(folder.name, [one.name for one in folder.parent.iterdir()], n=1)
    meant = f"; did you mean {folder.parent / close[0]}?" if close else ""
    return f"the folder {folder}, which does not exist{meant}"


def _cached(model: ModelRef, name: str, tried: list[str]) -> Checkpoint | None:
    folder = hub.cached(name, model)
    tried.append("the local hub cache")
    if folder is None:
        return None
    try:
        return read(name, folder)
    except CheckpointError as error:
        tried[-1] += f", where {error.reason}"
        return None


def _builtin(family: Family) -> Path:
    if family.builtin is None:
        raise CheckpointError(
            BUILTIN,
            (),
            f"the adapter {family.adapter!r} has no built-in checkpoint",
            "smolvlm has one: --adapter smolvlm --model builtin",
        )
    return family.builtin()


def _only_a_path(name: str) -> bool:
    """Whether a name cannot be a hub id, which is `owner/name` or `name`."""
    return name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or "\\" in name


def read(name: str, folder: Path) -> Checkpoint:
    """The checkpoint in `folder`; `name` is what was asked for.

    Raises:
        CheckpointError: a file is missing or broken; the text names it.
    """
    _check_files(name, folder)
    config, settings = _configuration(name, folder)
    return Checkpoint(
        name=name, folder=folder, config=config, settings=settings, tensors=_tensors(name, folder)
    )


def _check_files(name: str, folder: Path) -> None:
    """See that no runtime will wait for a pipe, or read a device that never ends."""
    for place, _, names in os.walk(folder):
        for file in (Path(place, each) for each in names):
            if os.path.exists(file) and not os.path.isfile(file):  # noqa: PTH110, PTH113  these never raise
                raise _broken(name, file, "is not a regular file")


def _configuration(name: str, folder: Path) -> tuple[Config, Config]:
    config = _json(name, folder / "config.json")
    settings: dict[str, Any] = {}
    for file in hub.SETTINGS:
        if (folder / file).is_file():
            entries = _json(name, folder / file)
            own = entries.get("image_processor", {})
            if not isinstance(own, dict):
                raise _broken(name, folder / file, "has an image_processor that is not an object")
            settings |= entries | own
    return config, settings


def _json(name: str, file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(file, LARGEST).decode())
    except FileNotFoundError as error:
        raise _broken(name, file, "is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(name, file, "is not readable JSON") from error
    if not isinstance(content, dict):
        raise _broken(name, file, "is not a JSON object")
    return content


def _tensors(name: str, folder: Path) -> dict[str, Tensor]:
    """The headers of the weight files that mlx-vlm would load."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(name, folder):
        try:
            tensors |= read_header(file)
        except FileNotFoundError as error:
            raise _broken(name, file, "is missing") from error
        except ValueError as error:
            raise _broken(name, file, f"is broken: {error}") from error
        except OSError as error:
            raise _broken(name, file, f"cannot be read ({error.strerror})") from error
    return tensors


def weight_files(name: str, folder: Path) -> Sequence[Path]:
    """The index's shards, else every safetensors file (mlx_vlm/utils.py, `load_model`)."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _json(name, index).get("weight_map", {})
        if not isinstance(shards, dict) or not all(isinstance(one, str) for one in shards.values()):
            raise _broken(name, index, "has a weight_map that names no files")
        return [folder / shard for shard in sorted(set(shards.values()))]
    files = sorted(folder.glob("*.safetensors"))
    files = [file for file in files if not file.name.endswith("consolidated.safetensors")]
    if not files:
        raise _broken(name, folder / "*.safetensors", "is missing")
    return files


def _broken(name: str, file: Path, what: str) -> CheckpointError:
    return CheckpointError(
        name, (), f"{file.name} {what} in {file.parent}", "Fetch the checkpoint again."
    )


def _check(family: Family, found: Description, model: ModelRef) -> None:
    _fits(family, found)
    _harmless(found, model)


def _fits(family: Family, checkpoint: Description) -> None:
    """Refuse a model of another family before its weights are read."""
    model_type = checkpoint.config.get("model_type")
    if family.model_types and model_type not in family.model_types:
        raise CheckpointError(
            checkpoint.name,
            (),
            f"it is of type {model_type!r}, and {family.adapter!r} runs "
            f"{' or '.join(family.model_types)}",
            f"Use --adapter {family.generic}, which runs any model that its library can load.",
        )


def _harmless(checkpoint: Description, model: ModelRef) -> None:
    """Refuse a checkpoint that brings its own code, unless it is trusted.

    mlx-vlm imports the `model_file` of a config whatever `trust_remote_code` says
    (mlx_vlm/utils.py 0.7.10, `get_model_and_args`).
    """
    if "model_file" in checkpoint.config and not model.trust_remote_code:
        raise CheckpointError(
            checkpoint.name,
            (),
            f"it wants to run its own code ({checkpoint.config['model_file']})",
            "Read that file; if you trust it, say --trust-remote-code.",
        )
