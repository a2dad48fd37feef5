"""Says which clients are tested, and at which versions: the folders of `pins/`."""

from pathlib import Path

PINS = Path(__file__).parent / "pins"
"""A folder for each group of clients, with what locks it: every file of it, by its hash."""


def _versions(group: str) -> tuple[str, ...]:
    """The versions of a client that has a folder for each, the newest first."""
    found = [path.name.removeprefix(f"{group}-") for path in PINS.glob(f"{group}-*")]
    return tuple(sorted(found, key=lambda name: tuple(map(int, name.split("."))), reverse=True))


VERSIONS = _versions("claude-code")
"""Of Claude Code: the newest, which `make clients-update` moves, and those that stay."""
NEWEST = VERSIONS[0]
