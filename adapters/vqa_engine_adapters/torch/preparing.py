"""A question as token ids and pixels, before any of the model has run."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from attrs import evolve, frozen
from PIL import Image

from vqa_engine.adapter import TokenCounts
from vqa_engine.errors import AnswerError
from vqa_engine.images import bounded, content_hash
from vqa_engine_adapters.families.smolvlm import scaled_edge
from vqa_engine_adapters.torch.loading import Loaded
from vqa_engine_adapters.torch.prefixes import Key, Prefix, Prefixes


@frozen(kw_only=True)
class Prepared:
    """The whole `prompt`, its `ids` with placeholders in place, and how to compute them.

    `split` positions belong to the image and what comes before it, `head` of them before
    the image; 0 when the prompt cannot be cut there. `prefix` is what an earlier question
    left for them, and then there are no `inputs`: the tensors that the processor made.
    `image` names the content as the model sees it, `size` is the first one's (width, height),
    `tiles` counts the pictures left to encode, `seconds` is what all this took.
    """

    prompt: str
    ids: tuple[int, ...]
    image: str
    size: tuple[int, int]
    head: int
    split: int
    prefix: Prefix | None
    inputs: dict[str, Any]
    tiles: int
    seconds: float

    @property
    def key(self) -> Key:
        """What its prefix is known by."""
        return self.image, self.ids[: self.split]


def prepare(
    loaded: Loaded,
    prompt: str,
    images: Sequence[Image.Image],
    longest_edge: int | None,
    prefixes: Prefixes,
) -> Prepared:
    """Tokens and pixels of a formatted prompt and its RGB images, bounded by `longest_edge`.

    The processor does not run when an earlier question left the one image's prefix.

    Raises:
        AnswerError: the prompt and the model disagree about the image.
        ContextExceeded: the prompt is too long even without its images.
    """
    started = perf_counter()
    written = _tokens(loaded, prompt)
    loaded.context.check(len(written), 0, 1)
    images = [bounded(image, longest_edge) for image in images]
    name, size = " ".join([*map(content_hash, images), str(longest_edge)]), images[0].size
    cut = _place(loaded, written)
    if cut is not None:
        prefix = prefixes.find(name, tuple(written[:cut]))
        if prefix is not None:
            again = _again(prefix, prompt, written[cut + 1 :], name, size)
            return evolve(again, seconds=perf_counter() - started)
    inputs = processed(loaded, prompt, images, longest_edge)
    ids = inputs["input_ids"][0].tolist()
    head, split = _cut(ids, written, cut)
    return Prepared(
        prompt=prompt,
        ids=tuple(ids),
        image=name,
        size=size,
        head=head,
        split=split,
        prefix=None,
        inputs=inputs,
        tiles=_tiles(inputs),
        seconds=perf_counter() - started,
    )


def continued(loaded: Loaded, prompt: str, earlier: Prepared) -> Prepared | None:
    """The prompt of another question about the picture that was prepared for an earlier one.

    None when the two have not the same tokens up to the picture's end: then it is prepared
    like any other. There are no `inputs`: those of the earlier one serve both.
    """
    started, written = perf_counter(), _tokens(loaded, prompt)
    cut = _place(loaded, written)
    if cut is None or not earlier.split or tuple(written[:cut]) != earlier.ids[: earlier.head]:
        return None
    return evolve(
        earlier,
        prompt=prompt,
        ids=(*earlier.ids[: earlier.split], *written[cut + 1 :]),
        inputs={},
        tiles=0,
        seconds=perf_counter() - started,
    )


def kept(prepared: Prepared, prefixes: Prefixes) -> Prepared:
    """The question with its prefix, where that was kept meanwhile."""
    prefix = prefixes.find(prepared.image, prepared.ids[: prepared.head])
    if prepared.prefix or prefix is None or prefix.ids != prepared.ids[: prepared.split]:
        return prepared
    return evolve(prepared, prefix=prefix, inputs={})


def fresh(asked: Sequence[Prepared]) -> dict[Key, Prepared]:
    """One question for each prefix that is still to be computed."""
    return {one.key: one for one in reversed(asked) if one.prefix is None and one.inputs}


def check_room(loaded: Loaded, prepared: Prepared, room: int) -> None:
    """See that the model reads a prompt and so many tokens of an answer.

    Raises:
        ContextExceeded: it does not.
    """
    ids, token = prepared.ids, loaded.image_token
    loaded.context.check(len(ids), 0 if token is None else ids.count(token), room)


def counted(loaded: Loaded, prepared: Prepared, completion: int) -> TokenCounts:
    """The token counts of an answer; the image's are its placeholders."""
    token = loaded.image_token
    return TokenCounts(
        prompt=len(prepared.ids),
        completion=completion,
        image=None if token is None else prepared.ids.count(token),
        reused=0 if prepared.inputs else prepared.split,
    )


def _again(
    prefix: Prefix, prompt: str, tail: list[int], name: str, size: tuple[int, int]
) -> Prepared:
    return Prepared(
        prompt=prompt,
        ids=(*prefix.ids, *tail),
        image=name,
        size=size,
        head=prefix.head,
        split=len(prefix.ids),
        prefix=prefix,
        inputs={},
        tiles=0,
        seconds=0.0,
    )


def _tokens(loaded: Loaded, prompt: str) -> list[int]:
    """The prompt's ids with one placeholder for the image."""
    encoded = loaded.tokenizer(prompt, **_special(loaded, prompt))["input_ids"]
    return list(encoded)


def _special(loaded: Loaded, prompt: str) -> dict[str, bool]:
    """Leave the start token out where the chat template has written one already."""
    start = loaded.tokenizer.bos_token
    return {"add_special_tokens": not (start and prompt.startswith(start))}


def _place(loaded: Loaded, written: list[int]) -> int | None:
    """The place of the one image, None for a model whose prompt cannot be cut there."""
    if loaded.steps is None or written.count(loaded.image_token or -1) != 1:
        return None
    return written.index(loaded.image_token or -1)


def processed(
    loaded: Loaded, prompt: str, images: Sequence[Image.Image], longest_edge: int | None
) -> dict[str, Any]:
    """The tensors that the processor makes of a formatted prompt and its RGB images.

    Raises:
        AnswerError: it refuses them.
    """
    options = {**_special(loaded, prompt), **_fewer_tiles(loaded.processor, longest_edge)}
    given = list(images) if len(images) == 1 else [list(images)]  # those of one text
    try:
        inputs = loaded.processor(text=[prompt], images=given, return_tensors="pt", **options)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise AnswerError(
            f"The model's processor refuses the question: {error}", cause=type(error).__name__
        ) from error
    return dict(inputs)


def _fewer_tiles(processor: Any, longest_edge: int | None) -> dict[str, Any]:
    """Have Idefics3's processor make no more tiles than an edge of this length fills."""
    images: Any = getattr(processor, "image_processor", None)
    tile = (getattr(images, "max_image_size", None) or {}).get("longest_edge")
    if longest_edge is None or tile is None:
        return {}
    edge = scaled_edge(images.size["longest_edge"], tile, longest_edge)
    return {"size": {"longest_edge": edge}}


def _cut(ids: list[int], written: list[int], place: int | None) -> tuple[int, int]:
    """Tokens before the image, and tokens up to its end; (0, 0) when the two spellings of
    the prompt, with one placeholder and with all, differ in more than the image."""
    if place is None:
        return 0, 0
    tail = written[place + 1 :]
    end = len(ids) - len(tail)
    if not tail or ids[:place] != written[:place] or ids[end:] != tail:
        return 0, 0
    return place, end


def _tiles(inputs: dict[str, Any]) -> int:
    """Pictures in the processor's output: all but the last three axes count them."""
    pixels = inputs.get("pixel_values")
    if pixels is None or pixels.ndim < 4:
        return 1
    return int(pixels.shape[:-3].numel())
