"""Which published figures a metric's scores may be compared with.

Sources: docs/metrics.md and docs/facts/metrics.md; `python -m benchmarks.scorers` checks what
can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

COMPARABLE: Mapping[str, str] = {
    "vqa-v2-official": "the official VQA v2 code of 2021, to the digit. Published figures "
    "were normalised first: `vqa-v2-normalised`",
    "vqa-v2-normalised": "published VQA v2 figures; EvalAI's server; lmms-eval `vqav2`",
    "soft-accuracy-evalai": "published TextVQA, VizWiz and OK-VQA figures; lmms-eval. Not "
    "VLMEvalKit, which has a normaliser of its own",
    "aokvqa-direct": "A-OKVQA's leaderboard, direct answers",
    "exact": "no published figure: it is for your own sets",
    "exact-folded": "GQA figures of LLaVA and its followers",
    "exact-raw": "GQA's `eval.py`; BLINK's published answers",
    "anls": "the paper, DocVQA's and InfographicVQA's server as described there, the package "
    "`anls`",
    "anls-inclusive": "lmms-eval and VLMEvalKit (which divide by lengths before folding spaces: "
    "last digits differ)",
    "chartqa-relaxed": "every published ChartQA figure (pix2struct's rule); 2009 is right for 2010",
    "chartqa-relaxed-years-exact": "nothing published; see what the year quirk is worth",
    "choice": "no harness exactly; see below",
    "circular": "MMBench's CircularEval, with exact matching",
    "yes-no-pope": "the POPE paper and LLaVA",
    "yes-no-words": "VLMEvalKit's POPE and HallusionBench rules",
    "mme": "MME's own tool, and lmms-eval but for `y`, `n` and leading spaces",
    "hallusion": "VLMEvalKit without a judge; the paper uses GPT-4",
    "ocrbench-contains": "OCRBench; 1000 points are the whole set",
    "mmmu-official": "the mean of the official score over all its seeds",
    "mmmu-strict": "nothing published; use it to compare models",
    "mathvista-rules": "nothing published: MathVista's figures come from a judge and are higher",
}
"""The last column of the table in docs/metrics.md, by metric."""


_PUBLISHED: Mapping[tuple[str, str], str] = {
    ("vqa-v2-normalised", "llava"): "VQA v2, test-dev: LLaVA 1.5 7B has 78.5, LLaVA 1.6 Mistral "
    "7B has 82.2",
    ("soft-accuracy-evalai", "llava"): "TextVQA: LLaVA 1.5 7B has 58.2, LLaVA 1.6 Mistral 7B has "
    "65.7",
}
"""Published figures at full precision, by metric and a part of the adapter's name.

Source: LLaVA, docs/MODEL_ZOO.md.
"""


def comparable(metrics: Iterable[str], adapters: Iterable[str] = ()) -> Iterator[str]:
    """A sentence for each of these metrics of which it is known, in their order.

    A model's own figures are added only where an adapter's name contains the model's.
    """
    adapters = tuple(adapters)
    for metric in dict.fromkeys(metrics):
        name = metric.rpartition(">")[2].partition("+")[0]
        known = COMPARABLE.get(name)
        if known:
            plain = known.replace("`", "").replace("; see below", "")
            yield f"{metric} is comparable with {plain}.{_published(name, adapters)}"


def _published(metric: str, adapters: Sequence[str]) -> str:
    return "".join(
        f" {figures}."
        for (wanted, model), figures in _PUBLISHED.items()
        if wanted == metric and any(model in name.lower() for name in adapters)
    )
