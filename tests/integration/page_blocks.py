"""Takes the blocks of code out of a page, and runs its Python ones in order, as a reader would.

It needs the standard library alone, so that the Python of any installation can run it as a program:
`python -P page_blocks.py PAGE`.
"""

import ast
import asyncio
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SESSION = next((ROOT / "examples" / "sessions").glob("b0b4*.jsonl"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROMPT = "$ "
"""Begins a command in a block that also shows what is printed."""


def blocks_of(page: Path, *languages: str) -> list[str]:
    """Return the blocks of a page that are marked with one of the languages, in order."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def commands_of(page: Path) -> list[str]:
    """Return the shell's commands of a page, a line each, in order."""
    found: list[str] = []
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        lines = text.splitlines()
        if language == "console":
            found += [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
        elif language == "bash":
            found += [line for line in lines if line and not line.startswith("#")]
    return found


def run_python_blocks(page: Path) -> None:
    """Run the Python blocks of a page one after another, with one set of names."""
    names: dict[str, Any] = {"__name__": "page"}
    for source in blocks_of(page, "python"):
        code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = types.FunctionType(code, names)()
        if inspect.iscoroutine(result):
            asyncio.run(result)


def put_session(home: Path) -> None:
    """Put one Claude Code session of the project ~/src/shop into a home."""
    shop = home / "src" / "shop"
    shop.mkdir(parents=True)
    folder = home / ".claude" / "projects" / re.sub(r"[^A-Za-z0-9]", "-", str(shop))
    folder.mkdir(parents=True)
    (folder / SESSION.name).write_bytes(SESSION.read_bytes())


if __name__ == "__main__":
    run_python_blocks(Path(sys.argv[1]))
