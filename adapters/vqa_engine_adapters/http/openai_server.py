"""`openai_server`: any model behind an OpenAI-compatible chat endpoint that takes images.

vLLM, SGLang, LM Studio, Ollama, llama.cpp and mlx-vlm's own server all speak it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore
from time import perf_counter
from typing import Any

from attrs import evolve

from vqa_engine.adapter import (
    Answer,
    GenerationPlan,
    MemoryProfile,
    ModelAdapter,
    ModelRef,
    Question,
    Timings,
    TokenCounts,
)
from vqa_engine.errors import (
    AnswerError,
    BackendError,
    BackendGone,
    CheckpointError,
    ConfigurationError,
    VqaEngineError,
)
from vqa_engine_adapters.families.family import Family
from vqa_engine_adapters.growth import Growth
from vqa_engine_adapters.http.client import Client
from vqa_engine_adapters.http.options import SECRET, Options
from vqa_engine_adapters.http.pictures import Sent, sent
from vqa_engine_adapters.interleaving import parts
from vqa_engine_adapters.options import read
from vqa_engine_adapters.plain import Plain

ROUNDS = 4
"""Requests of one batch for each that may be in flight: the slowest one of a batch then keeps
the others waiting for a quarter of the time at most."""

FIRST_PATIENCE = 10.0
"""Seconds to wait for a server when a run begins: by then it is the address that is wrong."""

_NO_LOGPROB = 1e300
"""Beyond it, infinite or NaN, a number is no log-probability, and no float may hold the sum."""

log = logging.getLogger(__name__)

FAMILY = Family(
    adapter="openai_server",
    model=None,
    instruction="\nAnswer the question using a single word or phrase.",
    cut=("<end_of_utterance>", "<|im_end|>", "<|end|>", "</s>"),
)


_PLAIN = Plain.of(
    None,
    (
        *FAMILY.cut,
        *("<image>", "<fake_token_around_image>", "<global-img>", "<__media__>", "<__image__>"),
        *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
        *("<img>", "</img>", "<IMG_CONTEXT>", "[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        *("<start_of_turn>", "<end_of_turn>", "<turn|>", "<|turn>", "[INST]", "[/INST]"),
        *("<bos>", "<eos>", "<pad>", "<unk>"),
        *(
            "<\uff5cUser\uff5c>",
            "<\uff5cAssistant\uff5c>",
            "<\uff5cend\u2581of\u2581sentence\uff5c>",
        ),
    ),
)
"""Servers put a question into a chat template and tokenise the whole, control tokens and all
(vllm-project/vllm#31735, ggml-org/llama.cpp#24382), so it must not hold the name of one. Which
names a server knows cannot be asked: these are those of the usual vision models."""


class OpenAiServer(ModelAdapter):
    """A server of the OpenAI API; `http.options.Options` are its model options.

    `ModelRef.model` is the name that the server knows the model by; None takes the one
    that it serves. It is also a `BatchAdapter` (`vqa_engine.adapter`): the requests of a
    batch are in flight together.
    """

    options = Options
    images_per_question = 100
    """A bound on mistakes: what a server takes, it says itself."""

    def __init__(self) -> None:
        self._options = Options()
        self._client: Client | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._growth = Growth()
        self._wanted: str | None = None
        self._names: dict[str, str] = {}

    def load(self, model: ModelRef) -> None:
        """Find the servers and the model on each; one of several may be away.

        Raises:
            ConfigurationError: an option is wrong, or the server wants another key.
            CheckpointError: the server has no such model, or several and none was named.
            BackendGone: it did not respond.
            BackendError: httpx2 is not installed.
        """
        self.release()
        self._options = read(Options, model.options, SECRET)
        _require()
        self._client = Client(self._options)
        try:
            self._find_models(self._client, model.model)
        except BaseException:
            self.release()
            raise
        most = self._options.most_in_flight
        self._pool = ThreadPoolExecutor(most * len(self._options.addresses), "openai_server")
        self._growth = Growth(most)

    def answer(self, question: Question, plan: GenerationPlan) -> Answer:
        """Ask one question.

        Raises:
            ImageError: the question's image cannot be used.
            AnswerError: nothing is loaded, or the server failed on this question.
            BackendGone: the server did not respond, or no longer accepts the key.
        """
        (outcome,) = self.answer_batch((question,), plan, None)
        if isinstance(outcome, VqaEngineError):
            raise outcome
        return outcome

    def batch_size(self, upcoming: Sequence[Question], _plan: GenerationPlan) -> int:
        """As many as keep all requests busy for a few rounds; any questions go together."""
        return min(len(upcoming), self._in_flight * ROUNDS)

    def answer_batch(
        self, questions: Sequence[Question], plan: GenerationPlan, _following: Question | None
    ) -> Sequence[Answer | VqaEngineError]:
        """One outcome for each question, in their order.

        That the server is gone is an outcome as well: the others' answers are kept.

        Raises:
            AnswerError: nothing is loaded.
        """
        if self._pool is None or self._client is None:
            raise AnswerError("The model is not loaded: call load first.", cause="adapter")
        client, before, started = self._client, self._client.overloads, perf_counter()
        turns = BoundedSemaphore(self._in_flight)

        def ask(question: Question) -> Answer | VqaEngineError:
            with turns:
                return self._outcome(client, question, plan)

        outcomes = list(self._pool.map(ask, questions))
        if client.overloads > before:
            self._growth.failed(self._in_flight)
        else:
            self._growth.answered(len(questions), perf_counter() - started)
        return outcomes

    def release(self) -> None:
        """Close the connections; calling it twice is safe."""
        client, self._client = self._client, None
        pool, self._pool = self._pool, None
        if client is not None:
            client.close()
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def memory_profile(self) -> MemoryProfile:
        """Nothing: the model is in another process, or on another machine."""
        return MemoryProfile(backend="none", levers=frozenset({"image_longest_edge"}))

    @property
    def _in_flight(self) -> int:
        """Requests that are under way at once."""
        each = self._options.in_flight or self._growth.size
        return each * len(self._options.addresses)

    def _find_models(self, client: Client, wanted: str | None) -> None:
        """Each server's name of the model; one that is away is asked when it is back."""
        self._wanted, self._names = wanted, {}
        gone: list[BackendGone] = []
        for url in self._options.addresses:
            try:
                self._names[url] = _served(client, url, wanted, FIRST_PATIENCE)
            except BackendGone as error:
                gone.append(error)
        if not self._names:
            raise gone[0]
        for reason in gone:
            log.warning("%s The others go on without it.", reason)

    def _name(self, client: Client, url: str) -> str:
        """The model's name on a server."""
        if url not in self._names:
            self._names[url] = _served(client, url, self._wanted, 0.0)
        return self._names[url]

    def _outcome(
        self, client: Client, question: Question, plan: GenerationPlan
    ) -> Answer | VqaEngineError:
        try:
            return self._ask(client, question, plan)
        except ConfigurationError as error:
            return BackendGone(f"{error} The same command then continues the run.")
        except VqaEngineError as error:
            return error

    def _ask(self, client: Client, question: Question, plan: GenerationPlan) -> Answer:
        plan = evolve(plan, prefill_step=None, kv_bits=None, encoder_batch=None)
        started = perf_counter()
        pictures = [
            sent(question, place, plan.image_longest_edge)
            for place in range(len(question.all_images))
        ]
        body = self._body(question, pictures, plan)
        ready = perf_counter()
        answered = client.send(
            "/chat/completions",
            lambda url: {"model": self._name(client, url), **body},
            subject=_picture(question),
        )
        timings = Timings(prepare=ready - started, decode=perf_counter() - ready)
        brief = self._brief(question)
        read = self._read(answered.reply, plan, timings, client.quoted, brief=brief)
        return evolve(read, server=answered.url, image_size=pictures[0].size)

    def _body(
        self, question: Question, pictures: Sequence[Sent], plan: GenerationPlan
    ) -> dict[str, Any]:
        text = FAMILY.ask(_PLAIN.question(question), self._options.instruction)
        content = _content([one.url for one in pictures], text)
        return {
            "messages": [*_system(plan), {"role": "user", "content": content}],
            "max_tokens": plan.max_tokens,
            "temperature": plan.temperature,
            "seed": plan.seed,
            **({"stop": list(plan.stop)} if plan.stop else {}),
            **({"logprobs": True} if plan.logprobs else {}),
            **self._options.extra,
        }

    def _brief(self, question: Question) -> bool:
        return self._options.instruction is None and not question.worded

    def _read(
        self,
        reply: Any,
        plan: GenerationPlan,
        timings: Timings,
        quoted: Callable[[str], str],
        *,
        brief: bool,
    ) -> Answer:
        """The answer in a reply; every field but the text may be missing."""
        try:
            choice = reply["choices"][0]
            message = choice["message"]
            text = message.get("content")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise AnswerError("The server's reply has no message.", cause="reply") from error
        ended = choice.get("finish_reason")
        if not isinstance(text, str):
            why = str(message.get("refusal") or f"finish_reason {ended!r}")
            raise AnswerError(f"The server's reply has no text ({quoted(why)}).", cause="reply")
        return Answer(
            text=FAMILY.clean(text, brief=brief),
            plan=plan,
            finish_reason="length" if ended == "length" else "stop",
            tokens=_counts(reply.get("usage")),
            timings=timings,
            logprob=_logprob(choice.get("logprobs")) if plan.logprobs else None,
        )


def _system(plan: GenerationPlan) -> list[dict[str, Any]]:
    return [] if plan.system is None else [{"role": "system", "content": plan.system}]


def _content(urls: list[str], text: str) -> list[dict[str, Any]]:
    """The parts of a message: each image where the text says `<image N>`, else in front."""
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": urls[part]}}
        for part in parts(text, len(urls))
    ]


def _require() -> None:
    try:
        import httpx2  # noqa: F401  only to see that it is there
    except ImportError as error:
        raise BackendError(
            "import httpx2", str(error), "Install it: pip install 'vqa-engine[http]'"
        ) from error


def _served(client: Client, url: str, wanted: str | None, patience: float) -> str:
    """The model's name on a server: the one asked for, or the only one there is."""
    try:
        reply = client.get("/models", url, patience)
    except AnswerError as error:
        if wanted is None:
            raise
        log.debug("the server lists no models: %s", error)
        return wanted
    names = _listed(reply)
    if wanted is not None:
        # Not checked against the names: servers load models by folder or by alias.
        return wanted
    if len(names) == 1:
        return names[0]
    raise CheckpointError(
        "(none)",
        (),
        f"the server offers {client.quoted(', '.join(names)) or 'no model'}",
        "Name one with --model.",
    )


def _listed(reply: Any) -> list[str]:
    """The names in a list of models; half of a surrogate pair is `?`, for no request carries it."""
    data = reply.get("data") if isinstance(reply, Mapping) else None
    entries = data if isinstance(data, list) else []
    ids = (one.get("id") for one in entries if isinstance(one, Mapping))
    return [one.encode(errors="replace").decode() for one in ids if isinstance(one, str)]


def _picture(question: Question) -> object:
    """What tells a question's picture from the next one's without opening it."""
    image = question.image
    return image if isinstance(image, (Path, bytes)) else id(image)


def _counts(usage: Any) -> TokenCounts | None:
    """The counts as far as a server gives them; few give the image's share of the prompt."""
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    given = usage.get("prompt_tokens_details")
    details = given if isinstance(given, Mapping) else {}
    reused, image = details.get("cached_tokens"), details.get("image_tokens")
    return TokenCounts(
        prompt=prompt,
        completion=completion,
        image=image if isinstance(image, int) else None,
        reused=reused if isinstance(reused, int) else 0,
    )


def _logprob(given: Any) -> float | None:
    """The sum of the tokens' log-probabilities; None where the server gives none."""
    tokens = given.get("content") if isinstance(given, Mapping) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    each = [one.get("logprob") if isinstance(one, Mapping) else None for one in tokens]
    known = [float(one) for one in each if isinstance(one, float | int) and abs(one) < _NO_LOGPROB]
    return sum(known) if len(known) == len(each) else None
