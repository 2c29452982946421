from __future__ import annotations

import os
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from tests.question_builders import checked, encoded, question
from vqa_engine.adapter import Question
from vqa_engine.errors import ImageError
from vqa_engine.images import FORMATS, MAX_PIXELS, content_hash, encoded_image, open_image
from vqa_engine.images import encoded as encoded_file

WHITE, RED = (255, 255, 255), (255, 0, 0)


def opened(source: object, **fields: object) -> Image.Image:
    return open_image(question(image=source, **fields))


def refusal(source: object, **fields: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        opened(source, **fields)
    return caught.value


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


# --- the pixels


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_give_the_same_pixels(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    image = opened(encoded(checked(), form, **options))
    assert (image.mode, image.tobytes()) == ("RGB", checked().tobytes())


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGBA",
        "RGBa",
        "RGBX",
        "CMYK",
        "YCbCr",
        "HSV",
        "I",
        "I;16",
        "I;16B",
        "F",
        "LAB",
    ],
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = opened(Image.new(mode, (3, 2)))
    assert (image.mode, image.size) == ("RGB", (3, 2))


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 255)), RED),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 128)), (127, 127, 127)),
        (Image.new("LA", (2, 2), (0, 0)), WHITE),
        (Image.new("I;16", (2, 2), 65535), WHITE),
        (Image.new("I;16", (2, 2), 257 * 100), (100, 100, 100)),
        (Image.new("I", (2, 2), 65535), WHITE),
        (Image.new("I", (2, 2), -5), (0, 0, 0)),
        (Image.new("F", (2, 2), 1.0), WHITE),
        (Image.new("F", (2, 2), 200.0), (200, 200, 200)),
        (Image.new("1", (2, 2), 1), WHITE),
        (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), RED),
        (Image.new("LAB", (2, 2), (255, 128, 128)), WHITE),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_colours_survive_the_mode(image: Image.Image, pixel: tuple[int, int, int]) -> None:
    found = opened(image).getpixel((1, 1))
    assert isinstance(found, tuple)
    assert all(abs(a - b) <= 1 for a, b in zip(found, pixel, strict=True))


def test_palette_with_transparency_is_laid_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    found = opened(encoded(image, "PNG", transparency=b"\xff\x00"))
    assert [found.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


def test_sixteen_bit_png_is_scaled() -> None:
    image = Image.new("I;16", (4, 4), 257 * 50)
    assert opened(encoded(image)).getpixel((0, 0)) == (50, 50, 50)


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert opened(data).getpixel((0, 0)) == RED


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int) -> None:
    stored = Image.new("RGB", (16, 8), "white")
    stored.paste((255, 0, 0), (0, 0, 8, 4))  # red where the stored top left is
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = opened(encoded(stored, "PNG", exif=exif))
    assert image.size == ((16, 8) if orientation < 5 else (8, 16))
    corner = {
        1: (0, 0),
        2: (1, 0),
        3: (1, 1),
        4: (0, 1),
        5: (0, 0),
        6: (1, 0),
        7: (1, 1),
        8: (0, 1),
    }
    x, y = corner[orientation]
    assert image.getpixel((x * (image.width - 1), y * (image.height - 1))) == RED
    assert content_hash(opened(image)) == content_hash(image)


@pytest.mark.parametrize("orientation", [0, 9, 4096])
def test_unknown_orientation_is_passed_over(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert opened(encoded(checked(), "PNG", exif=exif)).tobytes() == checked().tobytes()


def test_corrupt_exif_does_not_cost_the_picture() -> None:
    data = encoded(checked(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert opened(data).size == checked().size


def test_the_result_is_a_new_image() -> None:
    source = checked()
    opened(source).putpixel((0, 0), (9, 9, 9))
    assert source.tobytes() == checked().tobytes()


# --- identity


def test_hash_is_of_the_pixels_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    checked().save(path)
    sources = [path, encoded(checked()), encoded(checked(), "TIFF"), checked()]
    assert len({content_hash(opened(source)) for source in sources}) == 1


def test_hash_knows_mode_and_size() -> None:
    grey = Image.new("L", (4, 2), 7)
    assert content_hash(grey) == content_hash(grey.convert("RGB"))
    assert content_hash(grey) != content_hash(grey.resize((2, 4)))
    assert content_hash(grey) != content_hash(Image.new("L", (4, 2), 8))


# --- refusals


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "empty"),
        (b"this is a text, not a picture", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encoded(checked())[:-60], "truncated"),
        (encoded(checked(), "JPEG")[:-20], "truncated"),
        (png_header(8000, 8400), "8000 x 8400 pixels"),
        (png_header(60000, 60000), f"{MAX_PIXELS:,}"),
        (Image.new("RGB", (0, 3)), "no pixels"),
        (Path("http://host/cat.jpg"), "not fetched"),
        (Path("https://host/cat.jpg"), "not fetched"),
        (Path("no/such.png"), "no such file"),
        (Path("nul\0byte.png"), "holds a NUL"),
        (Path("x" * 300), "cannot be read"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_refusals_say_why(source: object, reason: str) -> None:
    assert reason in str(refusal(source))


def test_refusal_carries_its_facts() -> None:
    error = refusal(Path("gone.png"), question_id="q9", origin="set.jsonl:17")
    assert (error.image, error.question_id, error.origin) == ("gone.png", "q9", "set.jsonl:17")
    assert "given as 3 bytes" in str(refusal(b"abc"))


def test_folder_pipe_and_unreadable_file(tmp_path: Path) -> None:
    assert "is a folder" in str(refusal(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in str(refusal(tmp_path / "pipe"))
    (tmp_path / "file").write_bytes(b"x")
    assert "no such file" in str(refusal(tmp_path / "file" / "below.png"))
    (tmp_path / "empty.png").touch()
    assert "empty" in str(refusal(tmp_path / "empty.png"))


@pytest.mark.parametrize("name", ["/proc/self/pagemap", "/proc/kmsg", "/dev/zero", "PIPE"])
@pytest.mark.parametrize("read", [open_image, encoded_image, encoded_file])
@pytest.mark.parametrize("rooted", [False, True])
def test_what_never_ends_is_refused_unread(
    tmp_path: Path, name: str, read: Callable[[Question], object], rooted: bool
) -> None:
    os.mkfifo(tmp_path / "PIPE")
    (tmp_path / "link").symlink_to(tmp_path / name)
    root = tmp_path if rooted else None
    with pytest.raises(ImageError):
        read(Question(question_id=1, image=tmp_path / "link", text="?", image_root=root))


def test_a_file_that_became_a_pipe_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    regular = Path(__file__).stat()
    monkeypatch.setattr(Path, "stat", lambda _path: regular)
    assert "not a regular file" in str(refusal(tmp_path / "pipe"))


def test_a_file_too_large_to_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="the most that is read"):
        encoded_file(Question(question_id=1, image=tmp_path / "huge.png", text="?"))


def test_symlink_loop(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "cannot be read" in str(refusal(tmp_path / "a"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(checked()))
    path.chmod(0)
    assert "no permission" in str(refusal(path))


def test_closed_image_is_refused() -> None:
    image = checked()
    image.close()
    assert isinstance(refusal(image), ImageError)


def test_bomb_is_refused_whatever_the_host_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "make it smaller" in str(refusal(png_header(60000, 60000)))


def test_global_settings_stay() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    opened(encoded(checked()))
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert after == before


# --- the image root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in (folder / "in.png", tmp_path / "out.png"):
        path.write_bytes(encoded(checked()))
    (folder / "inner.png").symlink_to("in.png")
    (folder / "outer.png").symlink_to("../out.png")
    return folder


@pytest.mark.parametrize("name", ["in.png", "inner.png", "../images/in.png", "./in.png"])
def test_paths_inside_the_root(root: Path, name: str) -> None:
    assert opened(Path(name), image_root=root).size == checked().size
    assert opened(root / name, image_root=root).size == checked().size


@pytest.mark.parametrize("name", ["../out.png", "outer.png", "/etc/hostname", "../images2/x.png"])
def test_paths_that_leave_the_root(root: Path, name: str) -> None:
    assert "leads out" in str(refusal(Path(name), image_root=root))
    assert "leads out" in str(refusal(root / name, image_root=root))


def test_root_may_itself_be_a_symlink(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert opened(Path("in.png"), image_root=tmp_path / "link").size == checked().size


def test_address_below_a_root(root: Path) -> None:
    assert "not fetched" in str(refusal(root / "http://host/cat.jpg", image_root=root))


# --- hostile bytes


SAMPLES = [encoded(checked(), form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")]


@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_files_raise_nothing_else(sample: bytes, data: st.DataObject) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    try:
        image = opened(bytes(damaged[:end]))
    except ImageError:
        return
    assert image.mode == "RGB"


@given(st.sampled_from(SAMPLES), st.data())
def test_a_truncated_file_is_refused_unless_every_pixel_is_there(
    sample: bytes, data: st.DataObject
) -> None:
    end = data.draw(st.integers(0, len(sample) - 1))
    try:
        image = opened(sample[:end])
    except ImageError:
        return
    assert image.tobytes() == opened(sample).tobytes()


@given(st.integers(0, len(SAMPLES[1]) - 1))
def test_every_truncated_jpeg_is_refused(end: int) -> None:
    assert isinstance(refusal(SAMPLES[1][:end]), ImageError)


def test_threads_open_together() -> None:
    data, hashes = encoded(checked()), []
    jobs = [
        threading.Thread(target=lambda: hashes.append(content_hash(opened(data)))) for _ in range(8)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(hashes) == 8
    assert len(set(hashes)) == 1


def test_formats_start_no_program() -> None:
    assert not {"EPS", "WMF"} & set(FORMATS)


def heic(folder: Path) -> Path:
    heif = pytest.importorskip("pillow_heif")
    file = folder / "a.heic"
    heif.from_pillow(Image.new("RGB", (64, 48), RED)).save(file)
    return file


def test_heic_is_read_with_the_package_for_it(tmp_path: Path) -> None:
    file = heic(tmp_path)
    for source in (file, file.read_bytes()):
        image = opened(source)
        assert (image.mode, image.size) == ("RGB", (64, 48))
        red, green, blue = image.getpixel((20, 20))  # type: ignore[misc]  # three bands
        assert red > 240
        assert max(green, blue) < 20
    assert refusal(file.read_bytes()[:200])


def test_heic_without_the_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    head = b"\0\0\0\x18ftypheic" + bytes(40)
    assert "pip install 'vqa-engine[heic]'" in refusal(head).reason
