"""Putting a question into the words of a task's card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from string import ascii_uppercase

from attrs import evolve, frozen

from vqa_engine.adapter import Question
from vqa_engine.errors import ConfigurationError
from vqa_engine.questions import templates
from vqa_engine.questions.tasks.card import Prompt, Wording
from vqa_engine.questions.view import View

_OPTION = "\n{letter}. {text}"
DEFAULT = "default"
NONE = "none"


def wording_of(prompt: Prompt, family: str, wanted: str | None = None) -> tuple[str, Wording]:
    """The name and the wording for a family of models, else the default's.

    A card's family has all those whose names begin with its own (`qwen2_5_vl` is of `qwen`,
    and `smolvlm_torch` of `smolvlm`); the longest such name counts. `wanted` names the
    wording itself.

    Raises:
        ConfigurationError: the card has no wording of the wanted name.
    """
    if wanted not in (None, DEFAULT, *prompt.family):
        known = ", ".join((DEFAULT, NONE, *prompt.family))
        raise ConfigurationError(f"The task has no prompt {wanted!r}; choose from: {known}.")
    key = family.replace("-", "_").lower()
    matching = [one for one in prompt.family if key.startswith(one.lower())]
    name = wanted or max(matching, key=len, default=DEFAULT)
    own = prompt.family.get(name, prompt)
    return name, Wording(
        text=own.text or prompt.text,
        choice=own.choice or prompt.choice,
        option=own.option or prompt.option,
        source=own.source or prompt.source,
    )


def template_of(prompt: str) -> str:
    """A template as a person types it, in which `\\n` is a line break.

    Raises:
        ConfigurationError: it has no place for the question.
    """
    template = prompt.replace("\\n", "\n")
    if "question" not in templates.names(template):
        raise ConfigurationError(
            f"The prompt {prompt!r} has no {{question}}; write a template such as "
            "'{question}\\nAnswer in one word.'"
        )
    return template


def worded(question: Question, wording: Wording) -> Question:
    """The question as the model gets it: its text is the whole prompt.

    Without a template for it the question stays, and the adapter words it its own way.

    Raises:
        ConfigurationError: a template cannot be filled.
    """
    template = wording.choice if question.choices and wording.choice else wording.text
    if template is None:
        return question
    values = defaultdict(str, question.labels)
    values["question"] = question.text
    values["options"] = _options(question, wording.option or _OPTION)
    text = templates.fill(_without_empty_lines(template, values), values)
    return evolve(question, text=text, worded=True)


@frozen(eq=False)
class WordedView(View):
    """A task's questions as one family of models gets them."""

    wording: Wording

    def digest(self) -> str:
        """As the set behind it, whose card has the wordings of all families."""
        return self._of.digest()

    def _shown(self, question: Question) -> Question:
        return worded(question, self.wording)


def _without_empty_lines(template: str, values: Mapping[str, str]) -> str:
    """The template without the lines of which every value is empty, such as a missing hint."""
    lines = template.split("\n")
    kept = (
        line
        for line in lines
        if not (used := templates.names(line)) or any(values.get(name) for name in used)
    )
    return "\n".join(kept)


def _options(question: Question, option: str) -> str:
    letters = (*ascii_uppercase, *map(str, range(len(ascii_uppercase) + 1, 1000)))
    pairs = zip(letters, question.choices, strict=False)
    return "".join(templates.fill(option, {"letter": one, "text": text}) for one, text in pairs)
