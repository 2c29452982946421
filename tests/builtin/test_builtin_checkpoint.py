"""The embedded checkpoint: it is small, whole, and sees; and its training computes what it runs.

`tests.torch.test_parity` compares its tokens on MLX and on torch; the figures over all 2,000
held-out questions come from `benchmarks/builtin_accuracy.py`.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vqa_engine.adapter import Question
from vqa_engine.questions.shapes import ShapesSet
from vqa_engine.scoring import metric
from vqa_engine_adapters.builtin import CHECKPOINT

HELD_OUT = ShapesSet(seed=1, count=100)
ROOT = Path(__file__).parents[2]
LARGEST = 4_000_000
FIELDS = ("ids", "positions", "segments", "labels")
LOG = json.loads((ROOT / "tools" / "train_builtin" / "training.json").read_text())


def question_of(kind: str) -> Question:
    """A held-out question of the kind."""
    return next(question for question in HELD_OUT if question.question_type == kind)


def image_of(question: Question) -> Image.Image:
    """The question's picture."""
    assert isinstance(question.image, bytes)
    return Image.open(io.BytesIO(question.image))


def test_the_folder_is_in_the_hubs_layout_and_small() -> None:
    files = {file.name: file.stat().st_size for file in CHECKPOINT.iterdir()}
    assert sum(files.values()) <= LARGEST
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= set(
        files
    )
    assert {"preprocessor_config.json", "processor_config.json", "chat_template.json"} <= set(files)


def test_naming_the_checkpoint_imports_no_model_library() -> None:
    code = (
        "import sys, vqa_engine_adapters.builtin;"
        "assert not {'numpy', 'torch', 'mlx', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_training_stayed_within_its_hour_and_away_from_the_held_out_seed() -> None:
    seeds = {LOG["recipe"]["train_seed"], LOG["recipe"]["dev_seed"]}
    assert LOG["seconds"] <= 3600
    assert HELD_OUT.seed not in seeds
    assert ShapesSet().seed not in seeds


def test_the_tokenizer_covers_the_models_vocabulary() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    vocabulary = json.loads((CHECKPOINT / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(config["text_config"]["vocab_size"]))


@pytest.fixture(scope="module")
def loaded() -> Any:
    return pytest.importorskip("mlx_vlm").load(str(CHECKPOINT))


def ask(loaded: Any, question: Question, tmp_path: Path) -> str:
    from mlx_vlm import apply_chat_template, generate

    model, processor = loaded
    file = tmp_path / "question.png"
    image_of(question).save(file)
    text = f"{question.text}\nGive a very brief answer."
    prompt = apply_chat_template(processor, model.config, text, num_images=1)
    result = generate(model, processor, prompt, image=[str(file)], max_tokens=8, temperature=0)
    return str(result.text).strip()


@pytest.mark.slow
def test_it_answers_held_out_questions(loaded: Any, tmp_path: Path) -> None:
    grade = metric("vqa-v2-normalised").grade
    asked = list(islice(HELD_OUT, 40))
    scores = [grade(ask(loaded, one, tmp_path), one).value for one in asked]
    assert sum(scores) / len(scores) >= 0.9


@pytest.mark.parametrize("shown", ["colour", "shape"])
def test_the_answer_changes_with_the_picture(loaded: Any, shown: str, tmp_path: Path) -> None:
    asked = question_of(shown)
    pictures = [one for one in HELD_OUT if one.question_type == shown][:12]
    answers = {
        ask(loaded, Question(question_id=0, image=one.image, text=asked.text), tmp_path)
        for one in pictures
    }
    assert len(answers) >= 3


def test_the_processor_resizes_as_training_did(loaded: Any) -> None:
    samples = pytest.importorskip("tools.train_builtin.samples")
    _, processor = loaded
    image = image_of(question_of("count"))
    seen = processor(images=[image], text=["<image>"])["pixel_values"]
    trained = samples.shrink(image).astype(np.float32).transpose(2, 0, 1) / 255 * 2 - 1
    assert np.abs(np.array(seen)[0, 0] - trained).max() < 1e-6


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any, Any]:
    pytest.importorskip("torch")
    from tools.train_builtin import layout, samples, vocabulary

    tokenizer = vocabulary.build_tokenizer()
    model = layout.build_model(layout.Architecture(), tokenizer).eval()
    return model, samples.Sampler(tokenizer, 5, layout.Architecture().image_tokens), tokenizer


def test_the_shipped_tokenizer_is_the_one_it_builds(parts: Any) -> None:
    shipped = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    assert json.loads(parts[2].to_str())["model"]["vocab"] == shipped["model"]["vocab"]


def test_every_word_of_the_set_is_one_token(parts: Any) -> None:
    words = {word for one in HELD_OUT for word in one.text.rstrip("?").split()[1:]}
    assert all(len(parts[2].encode(f" {word}").ids) == 1 for word in words)


def test_packed_questions_are_computed_as_if_asked_alone(parts: Any) -> None:
    import torch

    from tools.train_builtin.forward import answer_logits
    from tools.train_builtin.loop import tensors

    model, sampler, _ = parts
    batch = tensors(sampler.batch(3, 1))
    alone = {**batch}
    keep = (batch["segments"] == 0) | (batch["segments"] == 4)
    alone |= {name: batch[name][keep][None] for name in FIELDS}
    with torch.no_grad():
        together, _ = answer_logits(model, batch)
        single, _ = answer_logits(model, alone)
    of_four = batch["segments"][batch["labels"] != -100] == 4
    torch.testing.assert_close(together[of_four], single, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_few_steps_lower_the_loss(parts: Any) -> None:
    from tools.train_builtin import layout, loop

    _, sampler, tokenizer = parts
    model = layout.build_model(layout.Architecture(), tokenizer)
    recipe = loop.Recipe(steps=100, warm_up_steps=1)
    optimisers = loop.build_optimisers(model, recipe)
    batch = loop.tensors(sampler.batch(0, 4))
    losses = [loop.train_step(model, optimisers, batch, recipe, step) for step in range(1, 7)]
    assert losses[-1] < losses[0] * 0.9


def test_held_out_scenes_never_occurred_in_training() -> None:
    recipe = LOG["recipe"]
    trained = Counter(
        one.image
        for index in range(50)
        for one in ShapesSet(seed=recipe["train_seed"]).scene_questions(index)
    )
    assert not any(one.image in trained for one in HELD_OUT)
