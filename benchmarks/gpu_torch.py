"""LLaVA 1.5 7B on torch, or a tiny one: `generate` of transformers, and ours."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu_table import (
    Counter,
    Ids,
    Row,
    Way,
    about,
    heading,
    photos,
    predictions,
    row,
    through,
    until,
)
from PIL import Image
from tests.checkpoints import llama_bpe, llava, write_json
from tests.torch import checkpoints
from transformers import LlavaConfig, LlavaForConditionalGeneration

from vqa_engine.adapter import GenerationPlan, ModelRef, Question
from vqa_engine.results import Reply
from vqa_engine.session.local import LocalSession
from vqa_engine_adapters.growth import Growth
from vqa_engine_adapters.torch.asking import PICTURES
from vqa_engine_adapters.torch.llava import LlavaTorch
from vqa_engine_adapters.torch.prefill import Batch
from vqa_engine_adapters.torch.prefixes import Prefixes


class TorchCounter(Counter):
    """torch's peak above what was held before."""

    def __init__(self) -> None:
        self.gpu = torch.cuda.is_available()

    def reset(self) -> int:
        """Begin to count; bytes held now."""
        if not self.gpu:
            return 0
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())

    def peak(self, floor: int) -> int | None:
        """The most since then."""
        return int(torch.cuda.max_memory_allocated()) - floor if self.gpu else None


def llava_15(folder: Path, *, large: bool) -> Path:
    """LLaVA 1.5 7B's shape, or a tiny one; in bfloat16, or float32."""
    if not large:
        return checkpoints.write(folder, "llava")
    llava.EDGE = 336
    config = llava._config("llava", 32000)
    config["text_config"] |= {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "rope_theta": 10000.0,
        "vocab_size": 32064,
        "max_position_embeddings": 4096,
    }
    config["vision_config"] |= {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "projection_dim": 768,
    }
    write_json(folder, "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    llama_bpe({"<image>": 32000, "<pad>": 32001}).save(str(folder / "tokenizer.json"))
    llava._write_processor(folder, "llava")
    write_json(folder, "chat_template.json", {"chat_template": llava.VICUNA_TEMPLATE})
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        LlavaForConditionalGeneration(LlavaConfig(**config)).save_pretrained(folder)
    torch.set_default_dtype(before)
    torch.cuda.empty_cache()
    write_json(folder, "config.json", config | {"vocab_size": 32064})
    return folder


def transformers_batches(adapter: Any, size: int, tokens: int) -> Way:
    """`generate` on left-padded batches, as in transformers' own documentation."""

    def ask(questions: Sequence[Question]) -> list[Ids]:
        loaded, said = adapter._ready(), []
        loaded.steps.step = loaded.tiles.size = None
        loaded.tokenizer.padding_side = "left"
        for start in range(0, len(questions), size):
            batch = questions[start : start + size]
            inputs = loaded.processor(
                text=[adapter.prompt(one) for one in batch],
                images=[Image.open(str(one.image)).convert("RGB") for one in batch],
                padding=True,
                return_tensors="pt",
                add_special_tokens=True,
            ).to(loaded.device, loaded.model.dtype)
            with torch.inference_mode():
                output = loaded.model.generate(
                    **inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=0
                )
            made = output[:, inputs["input_ids"].shape[1] :].tolist()
            said += [until(loaded.stop, line) for line in made]
        return said

    return ask


def logits_apart(adapter: Any, questions: Sequence[Question], plan: GenerationPlan) -> str:
    """The first token's logits of these questions as one batch, beside one by one."""

    def first(asked: Sequence[Question]) -> Any:
        adapter.drop_caches()
        made = adapter._ask()._prepared(asked, plan)
        with torch.inference_mode():
            return Batch(adapter._ready(), made, 1, Prefixes(0)).prefill().float()

    alone, batch = torch.cat([first([one]) for one in questions]), first(questions)
    apart = (alone - batch).abs().amax(dim=-1)
    best = alone.topk(2, dim=-1).values
    gap = best[:, 0] - best[:, 1]
    other = alone.argmax(dim=-1) != batch.argmax(dim=-1)
    lines = [
        f"first logits of a batch of {len(questions)} and of one by one: at most "
        f"{apart.max():.3g} apart (median of the questions' largest {apart.median():.3g}); "
        f"their standard deviation is {alone.std():.3g}",
        f"the two likeliest tokens are {gap.median():.3g} apart (median); {int(other.sum())} first "
        f"ids differ, where they are at most {float(gap[other].max()) if other.any() else 0:.3g} "
        "apart",
    ]
    return "\n".join(lines)


def rows(images: int, tokens: int, *, large: bool) -> list[Row]:
    """LLaVA 1.5 on torch."""
    plan, table = GenerationPlan(max_tokens=tokens), list[Row]()
    with tempfile.TemporaryDirectory() as at:
        folder, counter = Path(at), TorchCounter()
        adapter = LlavaTorch()
        model = ModelRef(model=str(llava_15(folder / "model", large=large)))
        session = LocalSession(adapter, model)
        window = session.load().window
        device = torch.cuda.get_device_name(0) if counter.gpu else "CPU"
        heading(f"torch {torch.__version__}, {device}, {adapter._ready().model.dtype}, LLaVA 1.5")
        files = photos(folder, images)
        once, fives = about(files, 1), about(files[: max(2, images // 2)], 5)
        warm = about(photos(folder, 8, start=images), 1)
        seen: list[list[Reply]] = []
        ours = through(session, window, plan, seen)
        for way in (transformers_batches(adapter, 8, tokens), ours):
            way(warm)
        few, some = once[: max(4, images // 16)], once[: max(8, images // 4)]
        single = transformers_batches(adapter, 1, tokens)
        alone, one = row("generate, batch 1", single, few, (), counter)
        table.append(alone)
        for size, asked in ((8, some), (32, once)):
            way = transformers_batches(adapter, size, tokens)
            table.append(row(f"generate, batch {size}", way, asked, one, counter)[0])
        table.append(row("ours, 1 per image", ours, once, one, counter, seen)[0])
        table.append(
            row("ours, 1 per image, batch as grown", ours, _again(once), one, counter, seen)[0]
        )
        expected = single(fives[: len(few)])
        # Another set, learned from its own start.
        adapter._ask()._growth = Growth(adapter._ask().rows, PICTURES)
        table.append(row("ours, 5 per image", ours, fives, expected, counter, seen)[0])
        print(f"\nour batches: {' '.join(str(len(replies)) for replies in seen)}")
        print(predictions(seen))
        print(logits_apart(adapter, once[:32], plan))
        print(f"{session.release().residue} bytes after release")
    best, ours_once, ours_five = table[2].rate, table[3].rate, table[-1].rate
    print(f"1 per image {ours_once / best:.2f} of batch 32 (aim 0.9), 5 per image ", end="")
    print(f"{ours_five / best:.2f} (aim 2.5)", flush=True)
    return table


def _again(questions: Sequence[Question]) -> list[Question]:
    """The same pictures asked about again; by then all but the last few prefixes are gone."""
    return [
        Question(question_id=f"again-{one.question_id}", image=one.image, text=one.text)
        for one in questions
    ]
