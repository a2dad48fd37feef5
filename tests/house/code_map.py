"""What the source tree holds: modules, imports, names and counts, read from the code itself.

uv run python tests/house/code_map.py           prints the table of counts
uv run python tests/house/code_map.py --write   writes it into docs/architecture.md
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- counts: begin -->", "<!-- counts: end -->"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: Path

    @cached_property
    def text(self) -> str:
        """The file as it is."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The file, parsed."""
        return ast.parse(self.text)

    @cached_property
    def name(self) -> str:
        """Dotted, as it is imported; empty for a file outside a package."""
        parts = self.path.parts
        if "src" not in parts:
            return ""
        inside = self.path.with_suffix("").parts[parts.index("src") + 1 :]
        return ".".join(inside[:-1] if inside[-1] == "__init__" else inside)

    @property
    def package(self) -> str:
        """The distribution's import name."""
        return self.name.partition(".")[0]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree; walked once, since each rule asks."""
        return list(ast.walk(self.tree))

    @property
    def functions(self) -> list[Function]:
        """Every function and method, nested ones included."""
        return [node for node in self.nodes if isinstance(node, Function)]

    def imported_packages(self) -> set[str]:
        """Top-level names of everything that is imported anywhere in the file."""
        found = {source.partition(".")[0] for source, _ in self.imports()}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
        return found

    def imports(self) -> Iterator[tuple[str, str]]:
        """(module, name) of every `from … import`, also inside functions and `TYPE_CHECKING`."""
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    yield node.module, alias.name


@cache
def read_module(path: Path) -> Module:
    """A file, read and parsed once for all rules."""
    return Module(path)


def source_modules() -> list[Module]:
    """Every module of every package."""
    return [read_module(path) for path in sorted((ROOT / "packages").glob("**/src/**/*.py"))]


def test_modules() -> list[Module]:
    """Every test file."""
    found = [*(ROOT / "packages").glob("**/tests/**/*.py"), *(ROOT / "tests").glob("**/*.py")]
    return [read_module(path) for path in sorted(found)]


def import_graph(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Who imports whom at all, whether the code runs or only the type checker sees it."""
    by_name = {module.name: module for module in modules}
    graph: dict[str, set[str]] = {name: set() for name in by_name}
    for name, module in by_name.items():
        for source, imported in module.imports():
            target = f"{source}.{imported}" if f"{source}.{imported}" in by_name else source
            if target in by_name and target != name:
                graph[name].add(target)
    return graph


def find_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a circle: none is what we want.

    A module is in a circle when it can be reached from itself; groups share what they reach.
    """
    reach = {name: _reachable(graph, name) for name in graph}
    circles: dict[frozenset[str], list[str]] = {}
    for name in graph:
        if name in reach[name]:
            group = frozenset(one for one in reach[name] if name in reach[one])
            circles.setdefault(group, sorted(group))
    return list(circles.values())


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def shared_class_names(modules: Iterable[Module]) -> dict[str, set[str]]:
    """Class names that stand in more than one package, with the packages."""
    homes: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].add(module.package)
    return {name: packages for name, packages in homes.items() if len(packages) > 1}


def files_naming_the_provider(modules: Iterable[Module]) -> list[Path]:
    """Files that name OpenRouter outside its home, the stand-in, the settings and the wiring."""
    homes = {"devflow_openrouter", "devflow_sandbox"}
    own = ("wiring", "async_gateway", "calls.main_provider")
    wiring = {f"devflow_gateway.{one}" for one in own}
    # the plugin asks for the stand-in by the name of its fixture
    excused = {"devflow_core.settings", "devflow_gateway.pytest_plugin", *wiring}
    return [
        module.path
        for module in modules
        if module.package not in homes
        and module.name not in excused
        and "openrouter" in module.text.lower()
    ]


def body_lines(function: Function) -> int:
    """Lines of a function without its docstring."""
    first = function.body[0]
    is_documented = ast.get_docstring(function) is not None
    start = (first.end_lineno or 0) + 1 if is_documented else first.lineno
    return (function.end_lineno or 0) - start + 1


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Lines of some files."""

    files: int
    lines: int
    code: int
    docstrings: int
    comments: int
    function_lines: tuple[int, ...]

    @classmethod
    def of(cls, modules: Iterable[Module]) -> Counts:
        """Count: a line is code unless it is blank, in a docstring, or only a comment."""
        found = list(modules)
        lines = sum(module.text.count("\n") for module in found)
        blank = sum(not line.strip() for one in found for line in one.text.splitlines())
        docstrings = sum(_docstring_lines(module.tree) for module in found)
        comments = sum(_comment_lines(module.text) for module in found)
        return cls(
            files=len(found),
            lines=lines,
            code=lines - blank - docstrings - comments,
            docstrings=docstrings,
            comments=comments,
            function_lines=tuple(
                (one.end_lineno or 0) - one.lineno + 1
                for module in found
                for one in module.functions
            ),
        )

    def row(self, name: str) -> str:
        """One line of the table."""
        sizes = sorted(self.function_lines) or [0]
        per_hundred = 100 / max(1, self.code + self.docstrings + self.comments)
        return (
            f"| {name} | {self.files} | {_grouped(self.lines)} | {_grouped(self.code)} "
            f"| {self.docstrings * per_hundred:.1f} | {self.comments * per_hundred:.2f} "
            f"| {statistics.median(sizes):.0f}/{sizes[len(sizes) * 9 // 10]}/{sizes[-1]} |"
        )


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _docstring_lines(tree: ast.Module) -> int:
    """Lines of docstrings and of strings under a field or constant, blank ones not counted."""
    return sum(
        sum(bool(line.strip()) for line in ast.unparse(node).replace("\\n", "\n").splitlines())
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _comment_lines(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(
        token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip()
        for token in tokens
    )


def table() -> str:
    """The counts as the page shows them."""
    sources, tests = source_modules(), test_modules()
    packages = sorted({module.package for module in sources})
    rows = [
        Counts.of(one for one in sources if one.package == name).row(f"`{name}`")
        for name in packages
    ]
    cycles = find_cycles(import_graph(sources))
    shared = sorted(shared_class_names(sources))
    long = sum(body_lines(one) > 40 for module in sources for one in module.functions)
    large = sum(module.text.count("\n") > 300 for module in sources)
    handlers = [
        node
        for module in sources
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
    ]
    broad = sum(isinstance(one.type, ast.Name) and one.type.id == "Exception" for one in handlers)
    text = "\n".join(module.text for module in sources)
    test_functions = sum(
        one.name.startswith("test_") for module in tests for one in module.functions
    )
    facts = {
        "modules of more than 300 lines (none may have more than 400)": large,
        "functions whose body has more than 40 lines": long,
        "import cycles, `TYPE_CHECKING` included": len(cycles),
        "class names that stand in two packages": f"{len(shared)} ({', '.join(shared)})",
        "files that name the provider outside its home": len(files_naming_the_provider(sources)),
        "`except Exception` of all handlers": f"{broad} of {len(handlers)}",
        "`cast(`, `isinstance(`": f"{text.count('cast(')}, {text.count('isinstance(')}",
        "`type: ignore` and pyright's, `noqa`": (
            f"{len(re.findall(r'type: ignore|pyright: ignore', text))}, {text.count('noqa')}"
        ),
        "test functions, lines of tests": (
            f"{_grouped(test_functions)}, {_grouped(Counts.of(tests).lines)}"
        ),
    }
    return "\n".join(
        [
            f"Taken at {_commit()} by `uv run python tests/house/code_map.py --write`.",
            "",
            "| | files | lines | code | docstring /100 | comment /100 | function median/p90/max |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            Counts.of(sources).row("**all**"),
            "",
            "| | |",
            "| --- | --- |",
            *(f"| {name} | {value} |" for name, value in facts.items()),
        ]
    )


def _commit() -> str:
    done = subprocess.run(
        ["git", "log", "-1", "--format=%cs"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "an unknown day"


def main() -> None:
    """Print the table, or write it into the page."""
    made = table()
    if "--write" not in sys.argv:
        sys.stdout.write(made + "\n")
        return
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
