"""What the tests do inside the torch process: functions of plain data, called by name."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.torch import checkpoints
from vqa_engine.adapter import GenerationPlan, ModelRef, Question
from vqa_engine.errors import VqaEngineError

_ADAPTERS: dict[str, Any] = {}


@frozen
class Failed:
    """An error of ours as plain data: its class, its text, its attributes."""

    kind: str
    text: str
    facts: dict[str, Any]


@frozen
class Remote:
    """An adapter inside the torch process; each method's result comes back, or a `Failed`."""

    pool: ProcessPoolExecutor
    target: str

    def load(self, folder: Path | str | None, trust: bool = False, **options: Any) -> Any:
        """Load a folder with these model options; in float32, so that ids can be compared."""
        name = None if folder is None else str(folder)
        options = {"dtype": "float32", **options}
        return self.call("load", ModelRef(model=name, trust_remote_code=trust, options=options))

    def ids(self, question: Question, plan: GenerationPlan) -> tuple[int, ...]:
        """The token ids of an answer that has to be one."""
        answer = self.call("answer", question, plan)
        assert not isinstance(answer, Failed), answer
        return tuple(answer.token_ids)

    def call(self, method: str, *arguments: Any) -> Any:
        """Any method of the adapter."""
        return self.begin(method, *arguments).result()

    def begin(self, method: str, *arguments: Any) -> Future[Any]:
        """Any method of the adapter, without waiting for it."""
        return self.pool.submit(call, self.target, method, *arguments)

    def reference(self, question: Question, plan: GenerationPlan) -> tuple[int, ...]:
        """What transformers' own `generate` gives."""
        return self.pool.submit(reference, self.target, question, plan).result()


def start() -> None:
    """Set up the process: one thread, and all of float32.

    cuDNN convolves in TF32 otherwise, in which scores are 1e-3 apart; matrices are multiplied in
    float32 unless somebody says another thing.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def write(folder: Path, kind: str) -> Path:
    """A tiny checkpoint."""
    return checkpoints.write(folder, kind)


def call(target: str, method: str, *arguments: Any) -> Any:
    """Call a method of the one adapter that `target` names."""
    if target not in _ADAPTERS:
        module, _, name = target.partition(":")
        _ADAPTERS[target] = getattr(import_module(module), name)()
    try:
        result = getattr(_ADAPTERS[target], method)(*arguments)
    except VqaEngineError as error:
        return _failed(error)
    if isinstance(result, list):
        return [_failed(one) if isinstance(one, VqaEngineError) else one for one in result]
    return result


def _failed(error: VqaEngineError) -> Failed:
    facts = {name: value for name, value in vars(error).items() if isinstance(value, str | int)}
    return Failed(type(error).__name__, str(error), facts)


def passes(target: str, method: str, *arguments: Any) -> int:
    """How often the whole model runs forward during a call."""
    count = [0]

    def counted(*_: Any) -> None:
        count[0] += 1

    hook = _ADAPTERS[target]._ready().model.register_forward_hook(counted)
    try:
        call(target, method, *arguments)
    finally:
        hook.remove()
    return count[0]


def reference(target: str, question: Question, plan: GenerationPlan) -> tuple[int, ...]:
    """The ids that `generate` makes of the adapter's prompt, without the end token."""
    import torch

    from vqa_engine.images import open_image

    adapter = _ADAPTERS[target]
    loaded, prompt = adapter._ready(), adapter.prompt(question)
    begun = prompt.startswith(loaded.tokenizer.bos_token or "nothing")
    inputs = loaded.processor(
        text=[prompt],
        images=[[open_image(question, place) for place in adapter._order(question)]],
        return_tensors="pt",
        add_special_tokens=not begun,
    ).to(loaded.device)
    for bound in (loaded.steps, loaded.tiles):
        if bound is not None:
            bound.step = bound.size = None
    with torch.inference_mode():
        output = loaded.model.generate(
            **inputs,
            max_new_tokens=plan.max_tokens,
            do_sample=False,
            eos_token_id=sorted(loaded.stop),
            pad_token_id=0,
        )
    ids = output[0, inputs["input_ids"].shape[1] :].tolist()
    return tuple(ids[:-1] if ids and ids[-1] in loaded.stop else ids)


def decoded(target: str, ids: tuple[int, ...]) -> str:
    """Some ids as the loaded model's tokenizer writes them."""
    tokenizer = _ADAPTERS[target]._ready().tokenizer
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))


def likelihoods(target: str, question: Question, options: tuple[str, ...]) -> list[float]:
    """The log-likelihood of each option, by a plain forward pass over prompt and option."""
    import torch

    from vqa_engine.images import open_image

    loaded, prompt = _ADAPTERS[target]._ready(), _ADAPTERS[target].prompt(question)

    def inputs(text: str) -> Any:
        begun = text.startswith(loaded.tokenizer.bos_token or "nothing")
        return loaded.processor(
            text=[text],
            images=[open_image(question)],
            return_tensors="pt",
            add_special_tokens=not begun,
        ).to(loaded.model.device)

    for bound in (loaded.steps, loaded.tiles):
        if bound is not None:
            bound.step = bound.size = None
    found, start = [], inputs(prompt)["input_ids"].shape[1]
    for option in options:
        given = inputs(f"{prompt} {option}" if not prompt[-1].isspace() else prompt + option)
        with torch.inference_mode():
            scores = torch.log_softmax(loaded.model(**given).logits[0], dim=-1)
        ids = given["input_ids"][0].tolist()
        found.append(sum(float(scores[n - 1, ids[n]]) for n in range(start, len(ids))))
    return found


def likelihood_of_ids(target: str, question: Question, said: tuple[int, ...]) -> float:
    """The log-likelihood of these ids behind the prompt, by a plain forward pass."""
    import torch

    from vqa_engine.images import open_image

    loaded, prompt = _ADAPTERS[target]._ready(), _ADAPTERS[target].prompt(question)
    given = loaded.processor(text=[prompt], images=[open_image(question)], return_tensors="pt")
    given = given.to(loaded.model.device)
    before = given.pop("input_ids")
    given.pop("attention_mask")
    whole = torch.cat([before, torch.tensor([said], device=before.device)], dim=1)
    with torch.inference_mode():
        scores = torch.log_softmax(loaded.model(input_ids=whole, **given).logits[0], dim=-1)
    start = before.shape[1]
    return sum(float(scores[start + n - 1, token]) for n, token in enumerate(said))


def imported() -> list[str]:
    """Which of the heavy libraries this process has."""
    return [name for name in ("torch", "transformers", "mlx", "mlx_vlm") if name in sys.modules]


def classified(statement: str) -> Failed:
    """How the error that a statement raises is read; the statement sees torch as `torch`."""
    import torch

    from vqa_engine.failures import classify

    try:
        exec(statement, {"torch": torch})
    except Exception as error:  # noqa: BLE001  whatever it raises is what is asked about
        meaning = classify(error, "it")
        return Failed(type(meaning).__name__, str(meaning), {})
    raise AssertionError(f"{statement} raised nothing")


def functions(target: str, question: Question, plan: GenerationPlan) -> set[str]:
    """The names of torch's functions that an answer really calls."""
    from torch.overrides import TorchFunctionMode

    names = set()

    class Noting(TorchFunctionMode):  # type: ignore[misc]  # torch is not followed
        def __torch_function__(
            self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            names.add(getattr(function, "__name__", ""))
            return function(*args, **(kwargs or {}))

    with Noting():
        _ADAPTERS[target].answer(question, plan)
    return names


def numbers(target: str) -> dict[str, int]:
    """How many weights the loaded model has, by the type that holds them."""
    held = Counter[str]()
    for parameter in _ADAPTERS[target]._ready().model.parameters():
        held[type(parameter.data).__name__] += parameter.numel()
    return dict(held)


def gap(target: str, question: Question, plan: GenerationPlan, ids: tuple[int, ...]) -> float:
    """How far the likeliest token is ahead of the next one after `ids`, in logits."""
    import torch

    from vqa_engine.images import open_image

    loaded = _ADAPTERS[target]._ready()
    prompt = _ADAPTERS[target].prompt(question)
    inputs = loaded.processor(text=[prompt], images=[open_image(question)], return_tensors="pt")
    whole = torch.cat([inputs.pop("input_ids"), torch.tensor([ids], dtype=torch.long)], dim=1)
    inputs.pop("attention_mask")
    whole, inputs = whole.to(loaded.device), inputs.to(loaded.device)
    with torch.inference_mode():
        logits = loaded.model(input_ids=whole, **inputs).logits[0, -1]
    first, second = logits.topk(2).values.tolist()
    return float(first - second)
