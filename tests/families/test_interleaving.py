"""Where pictures lie in a question's text."""

from __future__ import annotations

import pytest

from vqa_engine_adapters.interleaving import order, parts


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [
        ("<image 2> or <image 1>?", 2, [1, " or ", 0, "?"]),
        ("Compare <image 1>\n<image 2>", 2, ["Compare ", 0, 1]),
        ("Alike?", 2, [0, 1, "Alike?"]),
        ("<image 1> alone?", 2, [0, 1, "<image 1> alone?"]),
        ("<image 1>, <image 2>, <image 1>?", 2, [0, 1, "<image 1>, <image 2>, <image 1>?"]),
        ("<image 1> or <image 3>?", 2, [0, 1, "<image 1> or <image 3>?"]),
    ],
)
def test_several_pictures_lie_where_the_text_names_each_once(
    text: str, images: int, expected: list[int | str]
) -> None:
    assert parts(text, images) == expected
    assert order(text, images) == [part for part in expected if isinstance(part, int)]


def test_a_single_picture_is_in_front_and_its_name_stays_text() -> None:
    assert parts("<image 1> Baxter Company has a relevant range.", 1) == [
        0,
        "<image 1> Baxter Company has a relevant range.",
    ]
