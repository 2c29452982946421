"""A task card: one TOML file that says what a benchmark is, without code."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from attrs import frozen
from msgspec import Struct

from vqa_engine.errors import ConfigurationError
from vqa_engine.questions import templates
from vqa_engine.questions.table.columns import Columns

_LABELS = ("question_type", "answer_type", "rotation")
"""What scores can be broken down by beside a card's own labels."""


class Joined(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Images in files of their own: `key` is the column with the text that names each."""

    files: tuple[str, ...]
    key: str
    image: str


class Data(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the questions are.

    `hub` is a dataset's id on the hub, `also` older ids of the same content, `revision` the
    commit that is meant; without one the newest is downloaded once and kept. `files` are
    patterns of parquet files there, or, without `hub`, files beside the card. `images` is the
    folder of local image paths. `questions` is how many there are, and `digest` the SHA-256
    of what was read: a difference stops the run. `size` is the download in bytes.
    """

    files: tuple[str, ...]
    hub: str | None = None
    also: tuple[str, ...] = ()
    revision: str | None = None
    images: str | None = None
    joined: Joined | None = None
    questions: int | None = None
    digest: str | None = None
    size: int | None = None


class Wording(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a question is put to a model.

    `text` is the template of the whole prompt and `choice` that of a question with choices;
    they may use `{question}`, `{options}` and every label. `option` is the template of one
    option, with `{letter}` and `{text}`. `source` says who words it so.
    """

    text: str | None = None
    choice: str | None = None
    option: str | None = None
    source: str | None = None


class Prompt(Wording, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The wording for every model, and those for families of models that need their own."""

    max_tokens: int | None = None
    family: Mapping[str, Wording] = {}


class Scoring(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How answers are scored.

    `metrics` are names, optionally with aggregates (`exact+macro:subject`); the first is
    the headline, unless `headline` names a figure of it. `take` says what part of an answer
    counts (`vqa_engine.scoring.extraction`). `by` are the labels that scores are broken down by.
    """

    metrics: tuple[str, ...]
    headline: str | None = None
    take: str | None = None
    by: tuple[str, ...] = ()


class Card(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A task. `version` is raised whenever a score can change."""

    task: str
    title: str
    version: int
    data: Data
    columns: Columns
    score: Scoring
    prompt: Prompt = Prompt()
    licence: str = "unknown"
    page: str | None = None
    note: str | None = None


@frozen
class Task:
    """A card, its text, and the folder that its local files are in.

    `source` says where it was found.
    """

    card: Card
    folder: Path
    source: str
    text: str = ""

    @property
    def name(self) -> str:
        """The task's name."""
        return self.card.task


def read(text: str, folder: Path, source: str) -> Task:
    """Read and check a card.

    Raises:
        ConfigurationError: it is not TOML or no card; the text says where.
    """
    try:
        card = msgspec.convert(tomllib.loads(text), Card, strict=True)
    except RecursionError as error:
        raise ConfigurationError(f"The task card {source} is nested too deeply.") from error
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The task card {source} is not valid: {error}.") from error
    except ValueError as error:  # no TOML, or a number of more digits than Python reads
        raise ConfigurationError(f"The task card {source} is not valid TOML: {error}.") from error
    _check(card, source)
    return Task(card, folder, source, text)


def _check(card: Card, source: str) -> None:
    families = {f"prompt.family.{name}": own for name, own in card.prompt.family.items()}
    for place, wording in {"prompt": card.prompt, **families}.items():
        _check_wording(card, f"The task card {source}: [{place}]", wording)
    if not card.columns.pictures:
        raise ConfigurationError(f"The task card {source}: [columns] needs `image` or `images`.")
    if not card.score.metrics:
        raise ConfigurationError(f"The task card {source}: [score] names no metric.")
    labels = {*card.columns.labels, *_LABELS}
    for name in card.score.by:
        if name not in labels:
            raise ConfigurationError(
                f"The task card {source}: [score] by has {name!r}, which is no label; the labels "
                f"are {', '.join(sorted(labels))}."
            )


def _check_wording(card: Card, place: str, wording: Wording) -> None:
    whole, option = {"question", "options", *card.columns.labels}, {"letter", "text"}
    for key, names in (("text", whole), ("choice", whole), ("option", option)):
        try:
            unknown = sorted(templates.names(getattr(wording, key) or "") - names)
        except ConfigurationError as error:
            raise ConfigurationError(f"{place} {key}: {error}") from error
        if unknown:
            raise ConfigurationError(
                f"{place} {key} uses {{{unknown[0]}}}; it may use {', '.join(sorted(names))}."
            )
