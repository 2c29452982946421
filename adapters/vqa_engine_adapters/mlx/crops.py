"""Phi-3.5-vision's crops as the model was trained with them: pixels, ids and places.

mlx-vlm 0.7.10 stretches an image to whole crops where the published code pads it, drops what
comes first after the image, and lays the crops' patches out as if they were one above the
other (docs/upstream.md). What is published are the model's own files:
image_processing_phi3_v.py, processing_phi3_v.py and image_embedding_phi3_v.py of
microsoft/Phi-3.5-vision-instruct.
"""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageOps

from vqa_engine_adapters.families.family import Config
from vqa_engine_adapters.families.phi35 import CROP, scaled, sizes

_BICUBIC = (-0.09375, 0.59375, 0.59375, -0.09375)
"""Weights of four neighbours halfway between two pixels, for the kernel with a = -0.75."""


def padded(image: Image.Image, most: int) -> Image.Image:
    """The image scaled to at most so many crops, white above and below or at its sides."""
    upright = image.width < image.height
    if upright:
        image = image.transpose(Image.Transpose.TRANSPOSE)
    image = image.resize(scaled(image.size, most), Image.Resampling.BILINEAR)
    missing = -image.height % CROP
    above = missing // 2
    image = ImageOps.expand(image, (0, above, 0, missing - above), fill=(255, 255, 255))
    return image.transpose(Image.Transpose.TRANSPOSE) if upright else image


def crops(images: Any, image: Image.Image) -> tuple[Any, tuple[int, int]]:
    """The whole image small, then its crops row by row, and (height, width) before cutting.

    Shape (crops + 1, 3, 336, 336), normalised.
    """
    import numpy as np

    whole = np.asarray(padded(image.convert("RGB"), images.num_crops), dtype=np.float32) / 255
    whole = (whole - np.float32(images.image_mean)) / np.float32(images.image_std)
    height, width, _ = whole.shape
    whole = whole.transpose(2, 0, 1)
    cut = whole.reshape(3, height // CROP, CROP, width // CROP, CROP).transpose(1, 3, 0, 2, 4)
    small = _smaller(_smaller(whole, 1), 2)
    return np.concatenate([small[None], cut.reshape(-1, 3, CROP, CROP)]), (height, width)


def _smaller(pixels: Any, axis: int) -> Any:
    """An axis of n crops made as long as one, by torch's bicubic interpolation.

    Its kernel does not widen with the factor. An odd one hits a pixel, an even one falls
    between two.
    """
    import numpy as np

    length = pixels.shape[axis]
    factor = length // CROP
    first = np.arange(CROP) * factor + (factor - 1) // 2
    if factor % 2:
        return pixels.take(first, axis)
    near = [np.clip(first + step, 0, length - 1) for step in (-1, 0, 1, 2)]
    return sum(
        np.float32(weight) * pixels.take(place, axis)
        for weight, place in zip(_BICUBIC, near, strict=True)
    )


def behind(processor: Any, text: str) -> list[int]:
    """The ids of what follows the image, tokenised by itself, start token and all."""
    return list(processor.tokenizer(text)["input_ids"])


def correct(model: Any, processor: Any, settings: Config) -> None:
    """Have a loaded model and its processor do as the published ones."""
    images = processor.image_processor
    images.num_crops = int(settings.get("num_crops", images.num_crops))
    images._process_single_image = lambda image: crops(images, image)
    images.calc_num_image_tokens = lambda image: sizes(
        {}, {"num_crops": images.num_crops}, image.size, None
    )[0]
    processor._convert_images_texts_to_inputs = _Converted(processor)
    model.model.vision_embed_tokens.__class__ = _placed()


class _Converted:
    """A processor's conversion of one text and its image, with all ids behind the image."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._convert = processor._convert_images_texts_to_inputs

    def __call__(self, images: Any, texts: str, **options: Any) -> Any:
        import mlx.core as mx

        made = self._convert(images=images, texts=texts, **options)
        _, image, text = texts.partition("<|image_1|>")
        if image:
            ids = made["input_ids"][0].tolist()
            end = max(place for place, token in enumerate(ids) if token < 0) + 1
            ids = ids[:end] + behind(self._processor, text)
            made["input_ids"] = mx.array([ids])
            made["attention_mask"] = mx.ones_like(made["input_ids"])
        return made


def _placed() -> type[Any]:
    """mlx-vlm's image embedding with each crop's patches in the crop's place."""
    import mlx.core as mx
    from mlx_vlm.models.phi3_v.vision import VisionModel

    class Placed(VisionModel):  # type: ignore[misc]  # mlx-vlm has no types
        def __call__(self, img_embeds: Any, txt_embeds: Any, img_sizes: Any, positions: Any) -> Any:
            """`txt_embeds` with the features of its one image from its first position on."""
            height, width = (img_sizes[0] // CROP).tolist()
            tiles = img_embeds[0].transpose(0, 2, 3, 1)
            features = _squares(self.img_processor.vision_model(tiles, True)[-1][-2][:, 1:])
            side, depth = features.shape[1], features.shape[-1]
            placed = features[1 : height * width + 1].reshape(height, width, side, side, depth)
            placed = placed.transpose(0, 2, 1, 3, 4).reshape(height * side, width * side, depth)
            parts = [self._rows(placed), self.glb_GN[0], self._rows(features[0])]
            found = mx.concatenate(parts)
            for layer in self.img_projection:
                found = layer(found)
            row, start = positions[0]
            txt_embeds[row, start : start + len(found)] = found.astype(txt_embeds.dtype)
            return txt_embeds

        def _rows(self, grid: Any) -> Any:
            """(rows, columns, depth) row by row, each with a separator behind."""
            ends = mx.broadcast_to(self.sub_GN[0], (grid.shape[0], 1, grid.shape[-1]))
            return mx.concatenate([grid, ends], axis=1).reshape(-1, grid.shape[-1])

    return Placed


def _squares(features: Any) -> Any:
    """Each square of two by two patches as one feature: (tiles, side, side, 4 · depth)."""
    count, patches, depth = features.shape
    side = int(patches**0.5) // 2
    features = features.reshape(count, side, 2, side, 2, depth).transpose(0, 1, 3, 2, 4, 5)
    return features.reshape(count, side, side, 4 * depth)
