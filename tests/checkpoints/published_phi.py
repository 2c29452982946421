"""What microsoft/Phi-3.5-vision-instruct's own files do to a picture and a prompt.

The rule of image_processing_phi3_v.py, processing_phi3_v.py and image_embedding_phi3_v.py,
written by itself, to compare ours with. torch is imported where its interpolation is wanted.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from PIL import Image

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


def canvas(image: Image.Image, most: int) -> Image.Image:
    """The picture scaled and padded with white to whole crops, at most so many."""
    turned = image.width < image.height
    if turned:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    ratio, columns = image.width / image.height, 1
    while (columns + 1) * ceil((columns + 1) / ratio) <= most:
        columns += 1
    width = columns * 336
    height = int(width / ratio)
    rows = ceil(height / 336)
    whole = Image.new("RGB", (width, rows * 336), "white")
    scaled = image.resize((width, height), Image.Resampling.BILINEAR)
    whole.paste(scaled, (0, int((rows * 336 - height) / 2)))
    return whole.transpose(Image.Transpose.TRANSPOSE) if turned else whole


def pixels(image: Image.Image, most: int) -> Any:
    """Shape (crops + 1, 3, 336, 336): the whole picture by torch's interpolation, the crops."""
    import torch

    array = (np.asarray(canvas(image, most)) / 255 - MEAN) / STD
    whole = torch.tensor(array.transpose(2, 0, 1), dtype=torch.float32)
    small = torch.nn.functional.interpolate(whole[None], size=(336, 336), mode="bicubic")
    crops = [
        whole[:, top : top + 336, left : left + 336]
        for top in range(0, whole.shape[1], 336)
        for left in range(0, whole.shape[2], 336)
    ]
    return torch.stack([small[0], *crops]).numpy()


def places(rows: int, columns: int) -> list[tuple[int, int, int]]:
    """The (tile, row, column) of 2x2 squares in the order that the model reads them.

    Tile 0 is the whole picture and comes last. -1 is the separator behind a row, -2 the one
    in front of the whole picture.
    """
    found = []
    for row in range(12 * rows):
        for column in range(12 * columns):
            tile = (row // 12) * columns + column // 12 + 1
            found.append((tile, row % 12, column % 12))
        found.append((-1, 0, 0))
    found.append((-2, 0, 0))
    for row in range(12):
        found += [*((0, row, column) for column in range(12)), (-1, 0, 0)]
    return found


def ids(tokenizer: Any, prompt: str, count: int) -> list[int]:
    """The prompt's ids: each side of the image is tokenised by itself."""
    before, after = prompt.split("<|image_1|>")
    return [*tokenizer(before)["input_ids"], *[-1] * count, *tokenizer(after)["input_ids"]]
