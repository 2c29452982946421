"""Random pairs of a prediction and a question, of words that scorers stumble over."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from vqa_engine.adapter import Question

Pair = tuple[str, Question]

WORDS = (  # noqa: SIM905  a list of so many strings is hard to read
    "a an the yes no Yes No YES not none two 2 3 10 ten 1,000 1000 10,000.5 red blue dog dogs "
    "dog's don't dont t-shirt U.S.A. 14% 14 0.14 $14 2009 2010 100 105 105.0001 0 0.0 -5 5 half "
    "St. John's it's what's is are so answer result = is: A B C D (A) (B) (C) (D) A. B) b c I "
    "maybe abxy abcd unanswerable 5:30 pm 1e-3 12.50 .5 the-end"
).split()
ENDS = ("", "", "", ".", "?", "!", ",", " ", "\n", "\t", "'", ". Yes", "  ")
CHOICES = (
    ("a cat", "a dog", "a bird", "a fish"),
    ("$6", "$7", "$8", "$9"),
    ("red", "dark red", "blue", "none of these", "both red and blue"),
    ("yes", "no"),
    ("1", "10", "100", "1000"),
)


def phrase(drawn: random.Random, most: int = 4) -> str:
    """A few words with marks between and behind them."""
    words = [drawn.choice(WORDS) for _ in range(drawn.randint(0, most))]
    return drawn.choice((" ", " ", "  ", ",", ", ", "-", "\n")).join(words) + drawn.choice(ENDS)


def near(drawn: random.Random, text: str) -> str:
    """The text as it is, or a little changed."""
    changes: Sequence[Callable[[], str]] = (
        lambda: text,
        text.upper,
        text.lower,
        lambda: f" {text}.",
        lambda: text[1:],
        lambda: text[:-1] + drawn.choice("0123456789"),
        lambda: text + drawn.choice("xs. "),
        lambda: phrase(drawn),
        lambda: f"{phrase(drawn)} {text}",
        lambda: text[: len(text) // 2],
    )
    return drawn.choice(changes)()


def ten(drawn: random.Random) -> Pair:
    pool = [phrase(drawn, 2) for _ in range(3)]
    answers = tuple(drawn.choice(pool) for _ in range(10))
    return near(drawn, drawn.choice(answers)), asked(answers=answers)


def few(drawn: random.Random) -> Pair:
    answers = tuple(phrase(drawn) or "x" for _ in range(drawn.randint(1, 3)))
    return near(drawn, drawn.choice(answers)), asked(answers=answers)


def one_answer(drawn: random.Random) -> Pair:
    answer = drawn.choice((drawn.choice(WORDS), phrase(drawn)))
    return near(drawn, answer), asked(answers=(answer,))


def formula_or_text(drawn: random.Random) -> Pair:
    said, question = few(drawn)
    return said, asked(
        answers=question.answers, labels={"dataset": drawn.choice(("HME100k", "TextVQA"))}
    )


def yes_no(drawn: random.Random) -> Pair:
    return near(drawn, drawn.choice(("yes", "no", "Yes", "No", "Yes, it is", "not"))), asked(
        answers=(drawn.choice(("yes", "no")),)
    )


def chosen(drawn: random.Random) -> Pair:
    choices = drawn.choice(CHOICES)
    letter, text = drawn.choice([*zip("ABCDE", choices, strict=False)])
    forms = (letter, f"({letter})", f"{letter}.", f"{letter}. {text}", text, f"Answer: {letter}",
             f"The answer is {letter}", f"I think it is {text}, as one sees", phrase(drawn, 7),
             f"{letter} or B", f"{phrase(drawn)} {letter} {phrase(drawn)}",
             letter.lower())  # fmt: skip
    right = drawn.randrange(len(choices))
    return near(drawn, drawn.choice(forms)), asked(choices=choices, right=right)


FORMS = (
    "{L}", "{l}", "({L})", "({l})", "{L}.", "{L})", "[{L}]", "**{L}**", "\\boxed{{{L}}}",
    "{L}. {t}", "({L}) {t}", "{L}: {t}", "{t}", "{t}.", "{T}", " {t}\n", "Answer: {L}",
    "The answer is {L}.", "The correct option is ({l}).",
    "I think the answer is {L} because it fits.",
    "One sees an animal.\nThe answer is {L}", "It must be: ({L}) {t}", "Option {L}",
    "{L} because it fits", "The answer is {t}.", "I am sure that it is {t}.",
    "First I thought of {M}. The answer is {L}.",
)  # fmt: skip
"""Answers that mean the choice with the letter L (l in lower case) and the text t (T in capitals);
M is another choice's letter."""

NO_FORMS = ("", "?", "It depends", "I cannot say", "{L} or {M}", "{L} and {M}", "({L}) or ({M})",
            "Answer: {L} or {M}")  # fmt: skip
"""Answers that mean no choice, or several."""


def meant(drawn: random.Random) -> Pair:
    """An answer whose meaning is known because it was made for it: the label `meant`."""
    choices = drawn.choice(CHOICES)
    place, other = drawn.sample(range(len(choices)), 2)
    letter, text = "ABCDE"[place], choices[place]
    form = drawn.choice((*FORMS, *NO_FORMS))
    said = form.format(L=letter, l=letter.lower(), M="ABCDE"[other], t=text, T=text.upper())
    right = drawn.randrange(len(choices))
    labels = {"meant": letter if form in FORMS else "", "rotation": "0"}
    return said, asked(choices=choices, right=right, labels=labels)


def mixed(drawn: random.Random) -> Pair:
    """A question with choices, with ten votes, or with one to three accepted answers."""
    return drawn.choice((meant, ten, few))(drawn)


def yes_no_digit(drawn: random.Random) -> Pair:
    """As `yes_no`, its truth written as HallusionBench does."""
    said, question = yes_no(drawn)
    return said, asked(answers=({"yes": "1", "no": "0"}[question.answers[0]],))


def listed(drawn: random.Random) -> Pair:
    """A list alone, as MathVista's judge would extract it."""
    values = [drawn.randint(0, 9) for _ in range(drawn.randint(1, 3))]
    said = drawn.choice((values, values[::-1], [*values, 1]))
    return str(said), asked(answers=(str(values),), answer_type="list")


def long_open(drawn: random.Random) -> Pair:
    answers = tuple(drawn.choice(WORDS) for _ in range(drawn.randint(1, 2)))
    parts = [near(drawn, drawn.choice((*answers, phrase(drawn, 6)))) for _ in range(3)]
    joined = drawn.choice((" ", "\n", ". ", " is ", " = ", " so ")).join(parts)
    return joined, asked(answers=answers)


def number(drawn: random.Random) -> Pair:
    """A number alone, as MathVista's judge would extract it."""
    kind, precision = drawn.choice(("integer", "float")), drawn.randint(1, 2)
    value = drawn.choice((drawn.randint(-99, 2100), round(drawn.uniform(-9, 99), 3)))
    other = drawn.choice((value, value + 1, value + 0.004, -value))
    truth = str(int(value)) if kind == "integer" else str(round(float(value), precision))
    return str(other), asked(
        answers=(truth,), answer_type=kind, labels={"precision": str(precision)}
    )


def asked(**facts: Any) -> Question:
    return Question(question_id=1, image=b"", text="?", **facts)
