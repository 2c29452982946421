"""What is plainly meant works; what is not is one sentence at once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_distribution, png
from tests.fakes import Instant, Looking
from vqa_engine import Engine, MemoryProfile, Question, open_run
from vqa_engine.errors import AdapterBroken, AdapterInvalid, ConfigurationError
from vqa_engine.plugins import registry


def test_an_open_file_is_an_image() -> None:
    with Engine(Looking(), isolation="inline") as engine:
        assert engine.ask(io.BytesIO(png((4, 5))), "How large?").text == "4x5"


@pytest.mark.parametrize("image", [3, None, [b""], {"path": "a.png"}])
def test_what_is_no_image_is_one_sentence_at_once(image: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"An image is .*; give a path"):
        Question(question_id=1, image=image, text="?")
    with (
        Engine(Looking(), isolation="inline") as engine,
        pytest.raises(ConfigurationError, match=r"An image is .*; give a path"),
    ):
        engine.ask(image, "?")


@pytest.mark.parametrize(
    ("file", "said"), [(io.StringIO("x"), "opened as text"), (io.BytesIO(), r"seek\(0\)")]
)
def test_an_open_file_that_gives_no_image_is_one_sentence(file: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Question(question_id=1, image=file, text="?")


def test_the_accuracy_of_a_run_without_an_answer_is_one_sentence(tmp_path: Path) -> None:
    with Engine(Instant(), isolation="inline") as engine:
        engine.run([], tmp_path / "r")
    result = open_run(tmp_path / "r")
    with pytest.raises(ConfigurationError, match=r"'instant': nothing was answered yet\."):
        result.accuracy("instant")


def test_an_unknown_isolation_is_one_sentence() -> None:
    unknown: Any = "thread"
    with pytest.raises(ConfigurationError, match="isolation is 'thread'; it must be one of"):
        Engine(Instant(), isolation=unknown)


class Profiled(Instant):
    """An adapter with whatever profile."""

    def __init__(self, profile: Any) -> None:
        self._profile = profile

    def memory_profile(self) -> MemoryProfile:
        profile: MemoryProfile = self._profile
        return profile


STRANGE: Any = "clear"


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (MemoryProfile(backend="mlxx"), "the backend 'mlxx', but the installed ones are mlx, none"),
        ({"backend": "mlx"}, "a value of type dict, not a MemoryProfile"),
        (MemoryProfile(strategies=STRANGE), "strategies of type str, not a tuple"),
        (MemoryProfile(strategies=(STRANGE,)), "'clear' among its strategies"),
    ],
)
def test_a_profile_that_does_not_fit_is_one_sentence(profile: Any, said: str) -> None:
    with pytest.raises(AdapterInvalid, match=r"memory_profile\(\) returns") as caught:
        Engine(Profiled(profile), isolation="inline").ask(b"", "?")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("target", "error", "said"),
    [
        ("flat_mod", AdapterInvalid, "write 'flat_mod:ClassName'"),
        ("flat_mod.Adapter", AdapterBroken, "has no colon: write flat_mod:Adapter"),
    ],
)
def test_an_entry_point_without_a_colon_says_how_to_write_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = "from tests.fakes import Instant as Adapter"
    a_distribution(tmp_path, "flat", {"flat": target}, modules={"flat_mod": source})
    with pytest.raises(error, match=said):
        registry.load("flat")
