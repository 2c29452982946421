"""What the two sides say to each other: typed, tagged msgspec records in msgpack.

The records of `vqa_engine.adapter` and `vqa_engine.results` cross as they are, and are
validated on arrival. A question's image crosses beside the wire; see `arena`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

from msgspec import Struct, ValidationError, field, msgpack

from vqa_engine.adapter import GenerationPlan, ModelRef, QuestionId, restore
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import Cause, Loaded, Note, Released, Reply

PROTOCOL = 2
"""Raised when a message changes its meaning. `Hello` never changes, so that any two
versions can at least tell each other apart."""

_PATH = 1  # the code of our msgpack extension type: a file system path, as bytes


class Hello(Struct, frozen=True, tag="hello"):
    """The child's first words: its vqa-engine, its Python, its process id."""

    protocol: int
    version: str
    python: str
    pid: int


class Load(Struct, frozen=True, tag="load", omit_defaults=True):
    """Make this adapter and load this model.

    `path` is the host's `sys.path`, given to a child of the same interpreter so that it
    finds the same modules; None leaves the child's own. `policy` is the caller's word
    on memory, `library` the BLAS that a model on MLX multiplies by.
    """

    name: str
    label: str
    model: ModelRef
    policy: MemoryPolicy = field(default_factory=MemoryPolicy)
    target: str | None = None
    path: tuple[str, ...] | None = None
    library: Path | None = None


class PathImage(Struct, frozen=True, tag="path"):
    """An image that the child opens itself."""

    path: Path


class BytesImage(Struct, frozen=True, tag="bytes", omit_defaults=True):
    """An encoded file of `length` bytes at `offset` in the arena; a new `serial` is a new
    image."""

    serial: int
    length: int
    offset: int = 0


class PixelImage(Struct, frozen=True, tag="pixels", omit_defaults=True):
    """A PIL image: its raw pixels are in the arena, the rest is here.

    `palette` is the colour table of a palette image, in `palette_mode`. `info` is what
    of `Image.info` is plain data.
    """

    serial: int
    length: int
    mode: str
    size: tuple[int, int]
    palette: bytes | None = None
    palette_mode: str = "RGB"
    info: dict[str, Any] = field(default_factory=dict)


ImageRecord = PathImage | BytesImage | PixelImage


class Asked(Struct, frozen=True, omit_defaults=True):
    """One question; the fields are those of `vqa_engine.adapter.Question`."""

    question_id: QuestionId
    image: ImageRecord
    text: str
    answers: tuple[str, ...] = ()
    image_id: QuestionId | None = None
    question_type: str | None = None
    answer_type: str | None = None
    choices: tuple[str, ...] = ()
    origin: str | None = None
    image_root: Path | None = None


class Ask(Struct, frozen=True, tag="ask"):
    """Questions that come next; the child answers the first, or more of them together."""

    upcoming: tuple[Asked, ...]
    plan: GenerationPlan


class Leave(Struct, frozen=True, tag="leave"):
    """Release the model and end."""


class Vitals(Struct, frozen=True):
    """The child's size after a question, in bytes, for whoever has to explain its death.

    `address_space` is compared with `limit`, the soft RLIMIT_AS; None where the platform
    has no such figure.
    """

    address_space: int | None = None
    limit: int | None = None


class Ready(Struct, frozen=True, tag="ready", omit_defaults=True):
    """The model is loaded; like every reply it brings what was logged since the last."""

    loaded: Loaded
    vitals: Vitals
    notes: tuple[Note, ...] = ()


class Said(Struct, frozen=True, tag="said", omit_defaults=True):
    """The replies to the first of the questions, in their order."""

    replies: tuple[Reply, ...]
    vitals: Vitals
    notes: tuple[Note, ...] = ()


class Left(Struct, frozen=True, tag="left", omit_defaults=True):
    """The model is released; the child ends after this."""

    released: Released
    notes: tuple[Note, ...] = ()


class Refused(Struct, frozen=True, tag="refused", omit_defaults=True):
    """Loading raised. `kind` is the exception's class, `facts` its attributes."""

    kind: str
    message: str
    cause: Cause
    facts: dict[str, Any]
    detail: str = ""
    notes: tuple[Note, ...] = ()


ToChild = Load | Ask | Leave
ToHost = Hello | Ready | Said | Left | Refused


def _exact(value: object) -> object:
    if isinstance(value, PurePath):
        return msgpack.Ext(_PATH, os.fsencode(value))
    raise NotImplementedError(f"{type(value).__name__} is not plain data")


def _lenient(value: object) -> object:
    """An adapter may give NumPy or MLX numbers; inline they would pass, so here too."""
    for convert in ("__index__", "__float__"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return _exact(value) if isinstance(value, PurePath) else repr(value)


def _extension(code: int, data: memoryview) -> Path:
    if code != _PATH:
        raise ValidationError(f"unknown extension type {code}")
    return Path(os.fsdecode(bytes(data)))


def _restored(kind: type, value: Any) -> Any:
    if kind is Path:
        if isinstance(value, Path):
            return value
        raise ValidationError(f"expected a path, got {type(value).__name__}")
    return restore(kind, value)


encode_to_child: Callable[[ToChild], bytes] = msgpack.Encoder(enc_hook=_exact).encode
"""Raises NotImplementedError or TypeError for what is not plain data, UnicodeEncodeError
for text that is no Unicode, OverflowError for integers beyond 64 bits."""

encode_to_host: Callable[[ToHost], bytes] = msgpack.Encoder(enc_hook=_lenient).encode
"""As `encode_to_child`, but what is not plain data crosses as its number or its repr."""

decode_in_child: Callable[[bytes], ToChild] = msgpack.Decoder(
    ToChild, ext_hook=_extension, dec_hook=_restored
).decode
"""Raises msgspec.DecodeError; its ValidationError when the message does not fit its type."""

decode_in_host: Callable[[bytes], ToHost] = msgpack.Decoder(
    ToHost, ext_hook=_extension, dec_hook=_restored
).decode
"""As `decode_in_child`."""
