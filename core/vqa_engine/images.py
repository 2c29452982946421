"""The one place where an image is opened: untrusted file in, bounded RGB pixels out.

Every failure is an `ImageError` that names the image and its question, so that one bad
picture costs one question. Nothing is fetched over the network, and no global setting of
Pillow is changed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from attrs import frozen
from PIL import Image, UnidentifiedImageError

from vqa_engine.adapter import ImageSource, Question
from vqa_engine.errors import ImageError
from vqa_engine.files import NotRegular, open_regular

MAX_PIXELS = 64 * 1024 * 1024
"""Most pixels that are decoded. Pillow keeps four bytes a pixel: 256 MiB here, and turning
the mode needs up to three such buffers. Cameras stop below it, and no model sees more."""

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
"""Formats that are read. Of the others that Pillow knows some start a program (EPS), and
JPEG 2000 decodes certain truncated files to black without a complaint (seen in Pillow 13.0)."""

_READERS = ("Jpeg", "Png", "Gif", "WebP", "Bmp", "Tiff", "Ppm", "Avif")
"""Pillow's modules for them; that for JPEG finds the one for MPO."""

_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
"""Brands of HEIC files (ISO/IEC 23008-12, annex B.4), behind `ftyp`; phones write `heic`."""

_MAX_BYTES = 1 << 30
"""Most bytes of a file that are read at once: four times what `MAX_PIXELS` take uncompressed."""

_SENT = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""Formats that every server and browser reads, with their media types."""

_ORIENTATION = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32 tag 0x0112: how the stored pixels have to be turned to stand upright."""

_EMPTY = "it is empty (0 bytes)"

_WEB_ADDRESS = re.compile(r"(?:^|/)https?:/")


class _Refusal(Exception):
    """A reason, on its way to becoming an `ImageError`."""


class _Quiet:
    """Keeps Pillow's warnings in; what they warn of is either refused or harmless here.

    Python's warning filters belong to the whole process: the first thread that enters sets
    them aside, the last one that leaves brings them back.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_QUIET = _Quiet()


def open_image(question: Question, place: int = 0) -> Image.Image:
    """The question's picture as a fully decoded RGB image, upright, without metadata.

    `place` counts through `Question.all_images` from 0. Transparency is laid on white, of an
    animation the first frame is taken, 16-bit samples are scaled to 8. The image is a new
    one: changing it changes nobody's.

    Raises:
        ImageError: the path leaves `question.image_root`, there is no such file, it cannot
            be read, is empty, truncated, larger than `MAX_PIXELS` or not an image.
    """
    try:
        with _QUIET:
            return _opened(question.all_images[place], question.image_root)
    except _Refusal as refusal:
        raise _error(question, place, str(refusal)) from refusal.__cause__
    except Exception as error:  # a decoder fed with hostile bytes raises anything
        raise _error(question, place, _explained(error)) from error


@frozen
class EncodedImage:
    """An image file: its media type, its bytes, and the picture's (width, height)."""

    media_type: str
    content: bytes
    size: tuple[int, int]


def encoded_image(
    question: Question, longest_edge: int | None = None, place: int = 0
) -> EncodedImage | None:
    """The file as it is, where that shows just what `open_image` gives.

    None unless it is a JPEG, PNG or WebP of one frame in grey or RGB, upright and no larger
    than `longest_edge`. It is decoded once, so that a damaged one is found here. `place`
    counts as in `open_image`.

    Raises:
        ImageError: as `open_image`.
    """
    source = question.all_images[place]
    if isinstance(source, Image.Image):
        return None
    try:
        with _QUIET:
            return _as_it_is(source, question.image_root, longest_edge)
    except _Refusal as refusal:
        raise _error(question, place, str(refusal)) from refusal.__cause__
    except Exception as error:  # a decoder fed with hostile bytes raises anything
        raise _error(question, place, _explained(error)) from error


def encoded(question: Question, place: int = 0) -> bytes:
    """The bytes of an image file, as they are; `place` as in `open_image`.

    Raises:
        ImageError: the path leaves `question.image_root`, or cannot be read.
    """
    try:
        path = Path(question.all_images[place])  # type: ignore[arg-type]
        return _contents(path, question.image_root)
    except _Refusal as refusal:
        raise _error(question, place, str(refusal)) from refusal.__cause__
    except OSError as error:
        raise _error(question, place, _explained(error)) from error


def bounded(image: Image.Image, longest_edge: int | None) -> Image.Image:
    """The image with its longer side at most `longest_edge` pixels; never enlarged.

    What a `GenerationPlan.image_longest_edge` asks for; None leaves the image as it is.
    """
    if longest_edge is None or max(image.size) <= longest_edge:
        return image
    scale = longest_edge / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def content_hash(image: Image.Image) -> str:
    """SHA-256 (hex) over the size and the RGB pixels.

    Equal pixels give equal hashes whatever the path, the format or the mode they came in.
    """
    with _QUIET:
        pixels = image if image.mode == "RGB" else _rgb(image)
    digest = hashlib.sha256(f"{pixels.width}x{pixels.height}:".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _opened(source: ImageSource, root: Path | None) -> Image.Image:
    if isinstance(source, Image.Image):
        return _upright_rgb(source)
    if isinstance(source, bytes):
        return _decoded(io.BytesIO(source), len(source))
    with _file(Path(source), root) as (file, size):
        return _decoded(file, size)


def _as_it_is(
    source: Path | bytes, root: Path | None, longest_edge: int | None
) -> EncodedImage | None:
    if not isinstance(source, bytes):
        source = _contents(Path(source), root)
    if not source:
        raise _Refusal(_EMPTY)
    with _recognised(io.BytesIO(source)) as image:
        if image.format not in _SENT or image.mode not in {"L", "RGB"}:
            return None
        if image.has_transparency_data or getattr(image, "n_frames", 1) > 1:
            return None
        if _orientation(image) in _TRANSPOSITIONS or max(image.size) > (longest_edge or MAX_PIXELS):
            return None
        _upright_rgb(image)
        return EncodedImage(_SENT[image.format], source, image.size)


def _decoded(file: BinaryIO, size: int) -> Image.Image:
    if size == 0:
        raise _Refusal(_EMPTY)
    with _recognised(file) as image:
        return _upright_rgb(image)


def _recognised(file: BinaryIO) -> Image.Image:
    """The file as an image whose pixels are still to be decoded."""
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp" and head[8:] in _HEIC:
        return Image.open(file, formats=_heic())
    return Image.open(file, formats=_formats())


def _heic() -> tuple[str, ...]:
    """The format of HEIC files, which a package of its own reads."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise _Refusal(
            "it is a HEIC picture, and reading those needs pillow-heif: "
            "pip install 'vqa-engine[heic]', or save it as JPEG"
        ) from None
    register_heif_opener()
    return ("HEIF",)


@cache
def _formats() -> tuple[str, ...]:
    """`FORMATS` as far as this Pillow was built with them.

    Only their modules are imported: `Image.init` would import 45.
    """
    for name in _READERS:
        with suppress(ImportError):
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _contents(path: Path, root: Path | None) -> bytes:
    with _file(path, root) as (file, size):
        if size > _MAX_BYTES:
            raise _Refusal(f"it has {size:,} bytes, and the most that is read is {_MAX_BYTES:,}")
        return file.read(size)


@contextmanager
def _file(path: Path, root: Path | None) -> Iterator[tuple[BinaryIO, int]]:
    """The regular file that `path` means, opened, and its size in bytes.

    It is inside `root`, symlinks resolved, if there is one. The kernel's own files (/proc)
    are regular and may never end; they have no size, and pass for empty.
    """
    if "\0" in str(path):
        raise _Refusal("its path holds a NUL, which no path can hold")
    real = path if root is None else Path(os.path.realpath(root / path))
    if root is not None and not real.is_relative_to(os.path.realpath(root)):
        raise _Refusal(f"its path leads out of the image folder {root}")
    try:
        file = open_regular(real)
    except (FileNotFoundError, NotADirectoryError):
        raise _Refusal(_missing(path)) from None
    except NotRegular as error:
        raise _Refusal(str(error.strerror)) from None
    with file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise _Refusal(_EMPTY)
        yield file, size


def _missing(path: Path) -> str:
    if _WEB_ADDRESS.search(path.as_posix()):
        return "it is a web address, and images are not fetched; download it and give its path"
    return "there is no such file"


def _upright_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise _Refusal("it has no pixels")
    if image.width * image.height > MAX_PIXELS:
        raise _Refusal(_too_large(image))
    image.load()
    turn = _TRANSPOSITIONS.get(_orientation(image))
    rgb = _rgb(image)
    rgb = rgb if turn is None else rgb.transpose(turn)
    rgb.info = {}  # the EXIF bytes in it would turn the image again when it is opened again
    return rgb


def _too_large(image: Image.Image) -> str:
    return (
        f"it has {image.width} x {image.height} pixels, and the most that is decoded is "
        f"{MAX_PIXELS:,}; make it smaller"
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; upright if the EXIF data is corrupt, for the pixels are not."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - the EXIF parser raises whatever the bytes lead it to
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode == "F":
        return _from_float(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255 (65535 = 255 · 257); Pillow alone would clip at 255."""
    scaled = image.convert("I").point(lambda value: value * (1 / 257) + 0.5)
    grey = scaled.convert("L")
    return grey.convert("RGB")


def _from_float(image: Image.Image) -> Image.Image:
    """Samples in 0..1 are scaled to 0..255; others are taken as 0..255 and clipped."""
    (low, high) = image.getextrema()
    unit = isinstance(low, float) and isinstance(high, float) and 0 <= low <= high <= 1
    scaled = image.point(lambda value: value * (255 if unit else 1) + 0.5)
    return scaled.convert("L").convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # only an in-place conversion gives None
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    plain = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # alpha was multiplied in: undo that
    layer = (image if plain is None else image.convert(plain)).convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    white.alpha_composite(layer)
    return white.convert("RGB")


def _error(question: Question, place: int, reason: str) -> ImageError:
    return ImageError(
        reason,
        image=_described(question.all_images[place]),
        origin=question.origin,
        question_id=question.question_id,
    )


def _described(source: object) -> str:
    if isinstance(source, bytes):
        return f"given as {len(source)} bytes"
    if isinstance(source, Image.Image):
        return f"given as a PIL image ({source.mode}, {source.width} x {source.height})"
    return str(source)


def _explained(error: Exception) -> str:
    """One sentence for what Pillow or the system raised."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not an image in a format that is read ({', '.join(FORMATS)})"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than the {MAX_PIXELS:,} that are decoded; make it smaller"
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    if isinstance(error, OSError) and error.strerror:
        return f"it cannot be read: {error.strerror}"
    return f"it cannot be decoded, it may be truncated or damaged: {error or type(error).__name__}"
