"""Builds HTML and SVG from elements, so that every text and attribute is escaped."""

from __future__ import annotations

from html import escape

from devflow_core.safe_text import replace_control_characters


class Markup(str):
    """Text that is already HTML; `element` and `join` create it, and escape any plain `str`."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """Build `<name …>children</name>`; underscores in attribute names become hyphens.

    A trailing underscore is dropped: `class_="x"` becomes `class="x"`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(_attribute_text(value))}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Markup:
    """Concatenate pieces; anything that is not `Markup` is escaped."""
    return Markup(
        "".join(child if isinstance(child, Markup) else _escape(child) for child in children)
    )


def _escape(text: str) -> str:
    return escape(replace_control_characters(text))


def _attribute_text(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
