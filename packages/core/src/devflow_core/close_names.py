"""Finds which of the known names a mistyped one may have meant."""

from __future__ import annotations

from collections.abc import Iterable

MAX_CLOSE_NAMES = 3
"""How many names are offered for one."""
_MIN_LIKENESS = 0.6
"""difflib's own default, under which `sonet` and `demmo` find their names and `foo` finds none."""


def find_close_names(
    wanted: str, known: Iterable[str], min_likeness: float | None = None
) -> list[str]:
    """Return the known names that a name may have meant, the closest first; at most three.

    Names are close if they differ in a few letters or in their case, or contain the name. The last
    segment of a known path or id (`demo` of `/home/dev/demo`) is compared as well.

    Args:
        wanted: the name as given.
        known: the names that exist.
        min_likeness: the least likeness, above 0 and at most 1, where a wrong guess would be worse
            than none; names that only contain the wanted one are then left out. None: the usual
            likeness, or any name that contains it.
    """
    # here, since nothing is mistyped in most runs of a program
    import difflib

    by_spelling: dict[str, str] = {}
    for name in known:
        for spelling in (name, name.rstrip("/").rpartition("/")[2]):
            by_spelling.setdefault(spelling.casefold(), name)
    text = wanted.casefold()
    likely = difflib.get_close_matches(
        text, by_spelling, MAX_CLOSE_NAMES, min_likeness or _MIN_LIKENESS
    )
    containing = [one for one in by_spelling if text and min_likeness is None and text in one]
    found = [by_spelling[one] for one in (*likely, *containing)]
    return list(dict.fromkeys(found))[:MAX_CLOSE_NAMES]


def offer_close_names(wanted: str, known: Iterable[str]) -> str:
    """Return a sentence that offers what a name may have meant, after a space; "" for none."""
    found = find_close_names(wanted, known)
    return f" Did you mean {' or '.join(found)}?" if found else ""
