"""The names Claude Code gives to models, as the ids of a catalogue."""

from __future__ import annotations

import re

_DATED = re.compile(r"-(?:20\d{6}|latest)$")
_VARIANT = re.compile(r"\[[^\]]*\]$")
_NEW_STYLE = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:-(\d{1,2}))?")
_OLD_STYLE = re.compile(r"claude-(\d{1,2})(?:-(\d{1,2}))?-([a-z]+)")


def catalogue_ids(model: str) -> tuple[str, ...]:
    """Ids under which a catalogue may list a model, the likeliest first.

    `claude-sonnet-4-5-20250929` → `anthropic/claude-sonnet-4.5`; a name with a slash is an id.
    """
    name = _VARIANT.sub("", model)
    if "/" in name:
        return (name,)
    plain = _DATED.sub("", name)
    found = [f"anthropic/{plain}"]
    if new := _NEW_STYLE.fullmatch(plain):
        found.insert(0, f"anthropic/claude-{new[1]}-{_format_version(new[2], new[3])}")
    elif old := _OLD_STYLE.fullmatch(plain):
        found.insert(0, f"anthropic/claude-{_format_version(old[1], old[2])}-{old[3]}")
    return tuple(dict.fromkeys([*found, name]))


def _format_version(major: str, minor: str | None) -> str:
    return f"{major}.{minor}" if minor else major
