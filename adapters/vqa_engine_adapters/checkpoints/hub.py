"""The model hub: its local cache, then a download, and one sentence when neither works."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vqa_engine.adapter import ModelRef
from vqa_engine.errors import CheckpointError
from vqa_engine_adapters.checkpoints.headers import Tensor
from vqa_engine_adapters.checkpoints.transfer import Report, bring, silent, wanted

log = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds the hub may take to answer; huggingface_hub sets no bound on that first call."""

DATA = ("*.json", "*.jsonl", "*.safetensors", "*.model", "*.tiktoken", "*.txt", "*.jinja")
"""What mlx-vlm reads (mlx_vlm/utils.py, `get_model_path`), less the `*.py` of remote code."""

SETTINGS = ("preprocessor_config.json", "processor_config.json")
"""The files that may hold a processor's settings; a checkpoint has one of them or both."""

_FULL = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG),
)


def cached(name: str, model: ModelRef) -> Path | None:
    """The folder of a hub id in the local cache, None when it is not there.

    The folder may be incomplete: a download can have been interrupted.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name,
            revision=model.revision,
            local_files_only=True,
            allow_patterns=_patterns(model),
        )
    except (OSError, ValueError) as error:
        log.debug("%s is not in the hub cache: %s", name, error)
        return None
    return Path(folder)


def download(name: str, model: ModelRef, tried: list[str], report: Report = silent) -> Path:
    """The folder of a hub id after what it lacks has been downloaded.

    An interrupted download goes on where it stopped; `report` hears how far it is.

    The first call has a time bound, so a hub that never answers cannot hang a run.
    `tried` are the places looked in before, for the message.

    Raises:
        CheckpointError: the hub cannot be reached or does not give the files out.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(
            name, revision=model.revision, timeout=TIMEOUT, files_metadata=True
        )
        with _without_bars():
            sizes = wanted(info.siblings or (), _patterns(model))
            bring(name, info.sha or "", sizes, report, timeout=TIMEOUT)
            folder = snapshot_download(
                name,
                revision=model.revision,  # not its commit: offline, the cache is asked by name
                allow_patterns=_patterns(model),
                etag_timeout=TIMEOUT,
            )
    except CheckpointError:
        raise
    except Exception as error:  # the HTTP library's types differ between versions
        reason, remedy = _why(error, name, model.revision)
        raise CheckpointError(name, [*tried, "the hub"], reason, remedy) from error
    return Path(folder)


def small_file(name: str, file: str, revision: str | None = None) -> Path:
    """A file of another model at a branch, tag or commit, from the cache or else from the hub.

    Raises:
        CheckpointError: it is not in the cache, and the hub does not give it out.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    kept = try_to_load_from_cache(name, file, revision=revision)
    if isinstance(kept, str):
        return Path(kept)
    try:
        with _without_bars():
            return Path(hf_hub_download(name, file, revision=revision, etag_timeout=TIMEOUT))
    except Exception as error:  # the HTTP library's types differ between versions
        reason, remedy = _why(error, name, revision)
        raise CheckpointError(name, ["the local hub cache", "the hub"], reason, remedy) from error


def headers(name: str, model: ModelRef, folder: Path, tried: list[str]) -> dict[str, Tensor]:
    """The tensors of a hub id's weights by name; its configuration is put into `folder`.

    Of the weights only the headers are fetched, by range requests.

    Raises:
        CheckpointError: the hub cannot be reached or does not give the files out.
    """
    from huggingface_hub import HfApi

    try:
        hub = HfApi()
        commit = hub.model_info(name, revision=model.revision, timeout=TIMEOUT).sha
        for file in ("config.json", *SETTINGS):
            _fetch(name, commit, file, folder)
        with _without_bars():
            weights = hub.get_safetensors_metadata(name, revision=commit)
    except Exception as error:  # the HTTP library's types differ between versions
        reason, remedy = _why(error, name, model.revision)
        raise CheckpointError(name, [*tried, "the hub"], reason, remedy) from error
    return {
        tensor: Tensor(info.dtype, tuple(info.shape), info.data_offsets[1] - info.data_offsets[0])
        for file in weights.files_metadata.values()
        for tensor, info in file.tensors.items()
    }


def _fetch(name: str, commit: str | None, file: str, folder: Path) -> None:
    """Put one small file into `folder`, if the model has it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    with suppress(EntryNotFoundError), _without_bars():
        hf_hub_download(name, file, revision=commit, local_dir=folder, etag_timeout=TIMEOUT)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Leave progress to the engine, unless the user's environment asks for the hub's bars."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    if constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _patterns(model: ModelRef) -> list[str]:
    return [*DATA, "*.py"] if model.trust_remote_code else [*DATA]


def _why(error: Exception, name: str, revision: str | None) -> tuple[str, str]:
    """The reason and the remedy for a failure of the hub's client, in plain words."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    known: tuple[tuple[type[Exception], str, str], ...] = (
        (
            errors.GatedRepoError,
            "the hub gives it only to accounts that accepted its terms",
            f"Accept them on its page, run hf auth login, then hf download {name}",
        ),
        (
            errors.RevisionNotFoundError,
            f"the hub has no revision {revision!r} of it",
            "Check --revision.",
        ),
        (
            errors.RepositoryNotFoundError,
            "the hub has no such model, or it is private",
            "Check the name; for a private one run hf auth login first.",
        ),
        (
            errors.HFValidationError,
            "it is neither a folder here nor a valid hub id",
            "Check the name.",
        ),
        (
            errors.OfflineModeIsEnabled,
            "downloads are switched off (HF_HUB_OFFLINE)",
            f"Unset that and run vqa-engine pull {_pinned(name, revision)}, "
            f"or {_elsewhere(name, revision)}",
        ),
        (
            errors.HfHubHTTPError,
            f"the hub answered with HTTP status {status}",
            f"Try again later, or {_elsewhere(name, revision)}",
        ),
    )
    for kind, reason, remedy in known:
        if isinstance(error, kind):
            return reason, remedy
    if isinstance(error, OSError) and error.errno in _FULL:
        return f"its files cannot be stored ({error.strerror})", "Make room or set HF_HOME."
    reason = f"the hub cannot be reached ({type(error).__name__})"
    retry = f"Check the network and run vqa-engine pull {_pinned(name, revision)}"
    return reason, f"{retry}, or {_elsewhere(name, revision)}"


def _pinned(name: str, revision: str | None) -> str:
    return f"{name} --revision {revision}" if revision else name


def _elsewhere(name: str, revision: str | None) -> str:
    return (
        f"run hf download {_pinned(name, revision)} --local-dir FOLDER on a machine with network, "
        "copy FOLDER here and give it as --model."
    )
