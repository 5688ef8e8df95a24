"""Markup: elements of HTML and SVG, in which text is always escaped."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is markup already. What comes from data becomes it through `tag` alone."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """Return an element.

    Args:
        name: of the element.
        children: texts, which are escaped, and elements, which are not.
        attributes: values are escaped; ``class_`` is ``class``, and ``_`` inside a name is ``-``.

    >>> tag("td", "<b>", class_="n")
    '<td class="n">&lt;b&gt;</td>'
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_written(value))}"'
        for key, value in attributes.items()
    )
    inside = "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    return Markup(f"<{name}{told}>{inside}</{name}>")


def table(head: list[str], rows: list[list[str]]) -> Markup:
    """Return a table; a cell that reads as a number stands on the right."""
    body = [tag("tr", *(tag("td", cell, class_=_side(cell)) for cell in row)) for row in rows]
    return tag("table", tag("tr", *(tag("th", cell) for cell in head)), *body)


def _side(cell: str) -> str:
    return "number" if cell[:1].isdigit() or cell[:2].lstrip("-").isdigit() else "text"


def _written(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
