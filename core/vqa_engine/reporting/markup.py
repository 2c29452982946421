"""HTML and SVG elements whose texts can never become markup."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"meta", "input", "br", "img", "hr", "wbr"})

Attribute = str | int | float | bool | None


class Markup(str):
    """Text that is markup already; only `tag` and `join` make it."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: Attribute) -> Markup:
    """An element. A child that is no `Markup` is text and is escaped; None is left out.

    A trailing underscore of an attribute's name is dropped, other ones become hyphens:
    `class_`, `aria_label`. None and False leave the attribute out, True gives it no value.
    """
    opening = f"<{name}{''.join(_attribute(*one) for one in attributes.items())}>"
    if name in _VOID:
        return Markup(opening)
    return Markup(f"{opening}{join(*children)}</{name}>")


def join(*parts: str | None) -> Markup:
    """Parts one after another, each escaped unless it is markup."""
    return Markup("".join(_escaped(part) for part in parts if part is not None))


def trusted(text: str) -> Markup:
    """Text of this package's own that is markup: the style sheet, the script."""
    return Markup(text)


def _escaped(part: str) -> str:
    return part if isinstance(part, Markup) else escape(part, quote=False)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
