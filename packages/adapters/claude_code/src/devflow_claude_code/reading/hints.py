"""Finds sessions that a search does not cover, and says how to reach them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from devflow_claude_code.reading.paths import projects_dir

_MAX_LISTED = 3
"""The most links that a hint names; the rest is only counted."""


def find_hints(config_dir: Path, home: Path | None = None) -> tuple[str, ...]:
    """Return hints for a person who looks for sessions below a configuration folder.

    Each is a sentence or two; () if the search covers all known places.

    Args:
        config_dir: the folder that is searched.
        home: the person's home; None for that of this process.
    """
    home = home or Path.home()
    return (*_several_folders(config_dir), *_other_place(config_dir, home), *_links(config_dir))


def _several_folders(config_dir: Path) -> Iterator[str]:
    text = str(config_dir)
    if not config_dir.is_dir() and ("," in text or os.pathsep in text):
        yield (
            f"CLAUDE_CONFIG_DIR is {text}, which names several folders. Claude Code and DevFlow"
            " accept one: set it to the one you want, and run the command once for each."
        )


def _other_place(config_dir: Path, home: Path) -> Iterator[str]:
    other = home / ".config" / "claude"
    is_searched = projects_dir(config_dir).resolve() == projects_dir(other).resolve()
    if not is_searched and any(projects_dir(other).glob("*/*.jsonl")):
        yield (
            f"There are sessions below {other}, which are not shown:"
            f" CLAUDE_CONFIG_DIR={other} shows them."
        )


def _links(config_dir: Path) -> Iterator[str]:
    root = projects_dir(config_dir)
    inside = root.resolve()
    links = [
        one
        for one in sorted(root.glob("*"))
        if one.is_symlink() and one.is_dir() and not one.resolve().is_relative_to(inside)
    ]
    if links:
        names = ", ".join(one.name for one in links[:_MAX_LISTED])
        more = ", …" if len(links) > _MAX_LISTED else ""
        yield (
            f"{len(links)} project folders are links that lead out of {root} and are not followed"
            f" ({names}{more}). Give the path of a transcript in there to read it."
        )
