"""What the two sides say to each other: typed, tagged msgspec records in msgpack.

The records of `vqa_engine.adapter` and `vqa_engine.results` cross as they are, and are
validated on arrival. What crosses when is decided in `outbox`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, TypeVar

from msgspec import Raw, Struct, ValidationError, field, msgpack

from vqa_engine.adapter import GenerationPlan, ModelRef, QuestionId, Transfer, restore
from vqa_engine.adapter.crossing import plain_value
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.results import Cause, Failure, Loaded, MemoryEvent, Note, Released, Reply
from vqa_engine.worker.looking import Topic

T = TypeVar("T")

PROTOCOL = 9
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
    on memory. `log_level` is the lowest of what the host wants to hear. `log` is the file that
    the child is to print into; None leaves where it does.
    """

    name: str
    label: str
    model: ModelRef
    policy: MemoryPolicy = field(default_factory=MemoryPolicy)
    target: str | None = None
    path: tuple[str, ...] | None = None
    log_level: int = logging.INFO
    log: Path | None = None


class Look(Struct, frozen=True, tag="look"):
    """Make the adapter of `load`, load no model, and find out what `topic` asks."""

    load: Load
    topic: Topic


class Make(Struct, frozen=True, tag="make", omit_defaults=True):
    """Hold a plugin that is no adapter (`vqa_engine.worker.plugin`).

    `servant` is the class of ours that holds it, `module:name`, and `arguments` what it is
    made with. `listen` is the package whose log records the host wants to hear.
    """

    servant: str
    arguments: Raw
    listen: str = ""
    path: tuple[str, ...] | None = None
    log_level: int = logging.INFO


class Call(Struct, frozen=True, tag="call"):
    """Call a method of the servant that is held."""

    method: str
    arguments: Raw


class PathImage(Struct, frozen=True, tag="path"):
    """An image that the child opens itself."""

    path: Path


class BytesImage(Struct, frozen=True, tag="bytes", omit_defaults=True):
    """An encoded file; without `data` it is the one that came last under this `serial`."""

    serial: int
    data: bytes = b""


class PixelImage(Struct, frozen=True, tag="pixels", omit_defaults=True):
    """A PIL image as upright RGB pixels, `size` in pixels (width, height); without `data` it
    is the one that came last under this `serial`."""

    serial: int
    size: tuple[int, int]
    data: bytes = b""


ImageRecord = PathImage | BytesImage | PixelImage


class Asked(Struct, frozen=True, omit_defaults=True):
    """One question as a model may see it: no ground truths, nothing that only scoring needs.

    `serial` names it in later messages.
    """

    serial: int
    question_id: QuestionId
    image: ImageRecord
    text: str
    choices: tuple[str, ...] = ()
    worded: bool = False
    origin: str | None = None
    image_root: Path | None = None
    images: tuple[ImageRecord, ...] = ()


class Ask(Struct, frozen=True, tag="ask"):
    """Have the first questions answered, at most `limit` of them.

    `order` are the serials of the questions that come next; the child forgets all others.
    `new` are those of them that have not crossed before, each an `Asked`. The reply has the
    same `turn`.
    """

    order: tuple[int, ...]
    new: tuple[Raw, ...]
    limit: int
    plan: GenerationPlan
    turn: int = 0


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


class Begun(Struct, frozen=True, tag="begun"):
    """The first `count` questions are being answered now; their replies follow."""

    count: int


class Fetching(Struct, frozen=True, tag="fetching"):
    """The checkpoint is on its way; the reply to `Load` or `Look` follows once it is here."""

    transfer: Transfer


class Found(Struct, frozen=True, tag="found", omit_defaults=True):
    """What a `Look` asked, as `vqa_engine.worker.looking` makes it, or what a `Call` gave."""

    value: Raw
    notes: tuple[Note, ...] = ()


class Said(Struct, frozen=True, tag="said", omit_defaults=True):
    """What came of an `Ask`: the fields are those of `vqa_engine.session.protocol.Exchange`.

    Each reply is a `Reply` by itself, so that one that does not fit harms no other.
    """

    begun: int
    vitals: Vitals
    replies: tuple[Raw, ...] = ()
    failure: Failure | None = None
    events: tuple[MemoryEvent, ...] = ()
    recycle: str = ""
    notes: tuple[Note, ...] = ()
    turn: int = 0


class Left(Struct, frozen=True, tag="left", omit_defaults=True):
    """The model is released; the child ends after this."""

    released: Released
    notes: tuple[Note, ...] = ()


class Refused(Struct, frozen=True, tag="refused", omit_defaults=True):
    """What was asked raised. `kind` is the exception's class, `facts` its attributes."""

    kind: str
    message: str
    cause: Cause
    facts: dict[str, Any]
    detail: str = ""
    notes: tuple[Note, ...] = ()


ToChild = Load | Look | Ask | Leave | Make | Call
ToHost = Hello | Ready | Found | Begun | Fetching | Said | Left | Refused


def _exact(value: object) -> object:
    if isinstance(value, PurePath):
        return msgpack.Ext(_PATH, os.fsencode(value))
    raise NotImplementedError(f"{type(value).__name__} is not plain data")


def _lenient(value: object) -> object:
    return _exact(value) if isinstance(value, PurePath) else plain_value(value)


def extension(code: int, data: memoryview) -> Path:
    if code != _PATH:
        raise ValidationError(f"unknown extension type {code}")
    return Path(os.fsdecode(bytes(data)))


def restored(kind: type, value: Any) -> Any:
    if kind is Path:
        if isinstance(value, Path):
            return value
        raise ValidationError(f"expected a path, got {type(value).__name__}")
    return restore(kind, value)


encode_to_child: Callable[[ToChild], bytes] = msgpack.Encoder(enc_hook=_exact).encode
"""Raises NotImplementedError or TypeError for what is not plain data, UnicodeEncodeError
for text that is no Unicode, OverflowError for integers beyond 64 bits."""

encode_asked: Callable[[Asked], bytes] = msgpack.Encoder(enc_hook=_exact).encode
"""As `encode_to_child`."""

decode_asked: Callable[[bytes], Asked] = msgpack.Decoder(
    Asked, ext_hook=extension, dec_hook=restored
).decode
"""Raises msgspec.DecodeError."""

encode_to_host: Callable[[object], bytes] = msgpack.Encoder(enc_hook=_lenient).encode
"""As `encode_to_child`, but what is not plain data crosses as its number or its repr."""

decode_in_child: Callable[[bytes], ToChild] = msgpack.Decoder(
    ToChild, ext_hook=extension, dec_hook=restored
).decode
"""Raises msgspec.DecodeError; its ValidationError when the message does not fit its type."""

decode_in_host: Callable[[bytes], ToHost] = msgpack.Decoder(
    ToHost, ext_hook=extension, dec_hook=restored
).decode
"""As `decode_in_child`."""

decode_reply: Callable[[bytes], Reply] = msgpack.Decoder(
    Reply, ext_hook=extension, dec_hook=restored
).decode
"""Raises msgspec.ValidationError when an adapter's answer does not fit its record."""


def decode_found(kind: type[T], data: bytes) -> T:
    """The value of a `Found`; raises as `decode_reply`."""
    return msgpack.decode(data, type=kind, ext_hook=extension, dec_hook=restored)
