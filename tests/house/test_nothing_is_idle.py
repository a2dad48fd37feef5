"""What is defined in a package is used by one, shown to people, or gone."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from house.code_map import ROOT, Module, source_modules

FOR_TESTS = "testing.py"
"""Shipped for the tests of those who use us."""
CALLED_BY_NAME = {
    "connection_made", "connection_lost", "data_received", "eof_received", "pause_writing",
    "resume_writing", "on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body",
    "on_message_complete", "model_post_init", "handle_request", "handle_async_request",
    "astreaming", "dst", "fromutc", "tzname", "utcoffset",
}  # fmt: skip
"""Called by asyncio, datetime, the HTTP parser, httpx, LiteLLM or pydantic."""
KEPT = {
    "application_event": "how the routes for applications will tell an error in a stream",
    "client_leaves": "what the judges of a fault plan have to do, who are no package",
    "open_connections": "the bound on sockets, which only a test can look at",
}
"""What no code of ours calls and stays all the same, with the reason."""
CODE_ON_A_PAGE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def test_every_definition_is_used_or_shown() -> None:
    modules = [one for one in source_modules() if one.path.name != FOR_TESTS]
    assert _find_idle(modules, _read_shown()) == sorted(KEPT)


def test_who_is_neither_used_nor_shown_is_found(tmp_path: Path) -> None:
    file = tmp_path / "rooms.py"
    file.write_text("def used(): ...\ndef shown(): ...\ndef idle(): ...\nused()\n")
    module = Module(file)
    assert _find_idle([module], "call `shown()`; an idle word is no code") == ["idle"]


def _find_idle(modules: Iterable[Module], shown: str) -> list[str]:
    modules = list(modules)
    words = Counter(word for one in modules for word in re.findall(r"\w+", one.text))
    on_pages = {word for code in CODE_ON_A_PAGE.findall(shown) for word in re.findall(r"\w+", code)}
    defined = Counter(name for one in modules for name in _definitions(one))
    return sorted(
        name
        for name, count in defined.items()
        if words[name] <= count and name not in on_pages and name not in CALLED_BY_NAME
    )


def _read_shown() -> str:
    """Pages, examples, and the scripts that train what a package ships."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/**/README.md")]
    programs = [*ROOT.glob("examples/**/*.py"), *ROOT.glob("packages/*/training/*.py")]
    code = [f"```\n{path.read_text(encoding='utf-8')}\n```" for path in programs]
    return "\n".join([*(path.read_text(encoding="utf-8") for path in pages), *code])


def _definitions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if not isinstance(node, Definition) or node.name.startswith("__"):
            continue
        if not _is_registered(node):
            yield node.name


def _is_registered(node: Definition) -> bool:
    """Whether a decorator hands it to somebody: a command, a validator, a fixture."""
    plain = {"property", "cached_property", "staticmethod", "classmethod", "dataclass", "overload"}
    plain |= {"lru_cache", "cache", "contextmanager", "asynccontextmanager", "override"}
    names = [ast.unparse(one).partition("(")[0].split(".")[-1] for one in node.decorator_list]
    return any(name not in plain for name in names)
