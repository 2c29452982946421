"""Standard tests of images: odd ones are answered, broken ones cost one question."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_engine.adapter import Answer, ImageSource
from vqa_engine.errors import ImageError
from vqa_engine.testing import pictures
from vqa_engine.testing.bench import Bench, shown


class ImageTests:
    """Whatever an image folder holds."""

    bench: Bench

    def test_odd_images(self, tmp_path: Path) -> None:
        """Every mode, size and source of image is answered."""
        failed = {
            name: shown(result)
            for name, image in pictures.odd_images(tmp_path).items()
            if isinstance(result := self._about(image), Exception)
        }
        assert failed == {}, "Open images with vqa_engine.open_image(question): it reads all these."

    def test_broken_images_are_image_errors(self, tmp_path: Path) -> None:
        """An image that cannot be used raises `ImageError`; it is never answered."""
        wrong: dict[str, str] = {}
        for name, make in pictures.broken_images(tmp_path).items():
            result = self._about(make())
            if not isinstance(result, ImageError):
                wrong[name] = _result(result)
        if not self.bench.capabilities.sees_images and all("answered" in w for w in wrong.values()):
            pytest.skip("Capabilities(sees_images=False): no image is opened")
        assert wrong == {}, "Open images with vqa_engine.open_image(question), and let it raise."

    def test_an_error_leaves_no_trace(self) -> None:
        """After a question that failed, the same model answers the next as before."""
        self.bench.need_determinism()
        text = self.bench.capabilities.question
        self.bench.fresh()
        self.bench.say(pictures.picture(), text)
        before = self.bench.say(pictures.picture(), text)
        self.bench.attempt(pictures.question(b"", text))
        self.bench.keep()
        after = self.bench.attempt(pictures.question(pictures.picture(), text))
        kept = (after.text, tuple(after.token_ids)) if isinstance(after, Answer) else shown(after)
        assert kept == before, "An error may cost its question only: undo what it had begun."

    def _about(self, image: ImageSource) -> Answer | Exception:
        question = pictures.question(image, self.bench.capabilities.question)
        return self.bench.attempt(question)


def _result(result: Answer | Exception) -> str:
    return shown(result) if isinstance(result, Exception) else f"answered {result.text!r}"
