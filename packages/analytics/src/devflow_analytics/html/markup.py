"""HTML and SVG built from elements, so that every text and attribute is escaped."""

from __future__ import annotations

from html import escape

from devflow_core.safe_text import replace_control_characters


class Markup(str):
    """Text that is HTML already. Made by `element` only; a plain `str` is escaped there."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """`<name …>children</name>`; an underscore in an attribute's name stands for a hyphen.

    A trailing underscore is dropped: `class_="x"` is `class="x"`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(_attribute_text(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Several pieces one after the other; what is not `Markup` is escaped."""
    return Markup(
        "".join(child if isinstance(child, Markup) else _escape(child) for child in children)
    )


def _escape(text: str) -> str:
    return escape(replace_control_characters(text))


def _attribute_text(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
