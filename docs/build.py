"""Writes the reference pages that are made from the code; `--check` only compares them.

Run by `make docs`; a test runs the check.
"""

import ast
import inspect
import re
import sys
from pathlib import Path

from devflow_cli.conformance import CLAUSES, Clause
from devflow_core import settings
from devflow_core.settings import Settings

HERE = Path(__file__).parent
HEADER = """# Settings

Made from `devflow_core/settings.py` by `make docs`; do not edit.

Defaults < `~/.config/devflow/devflow.toml` < `./devflow.toml` < environment < command line;
`--config FILE` stands in the place of both files. Every setting has an environment name: `DEVFLOW_`
and its name in capitals. Lists are given as JSON or separated by commas, tables as JSON. What has a
● may stand in the file of a working directory; for all else it has to be trusted
([trust.md](trust.md)).

| setting | | type | default | meaning |
| --- | --- | --- | --- | --- |
"""
OTHER_NAMES = """
## Other names that are read

A `DEVFLOW_…` name wins over these.

| variable | sets |
| --- | --- |
"""

CLIENTS_HEADER = """# Clients that are tested

Made from `tests/clients/pins` by `make docs`; do not edit. `make test-clients` installs these
versions into `.clients/`, each file held to its hash, and has them work through a running gateway;
`make clients-update` moves them to the newest. How each is pointed at a gateway:
[server.md](server.md#clients).

SDKs play every scenario: a text whole and streamed, an image, three parallel tool calls whose
results go back (whole and streamed, with arguments that are not ASCII or empty), every class of
error, a stream that is cut, leaving in the middle of one. The cost that they show is the ledger's
and the bill's to the last digit; LangChain shows none of a stream.

| client | version | what it does in the tests |
| --- | --- | --- |
"""
CLIENT_ROWS = {
    "claude-code": (
        "Claude Code",
        "a task with tools and a sub-agent, resumed and compacted; hook, MCP, launcher; damaged, "
        "rare and written-back sessions",
    ),
    "codex": ("Codex", "a job with its shell, over responses"),
    "opencode": (
        "opencode",
        "a job with its shell, over each of the three dialects; the amount that it shows is the "
        "bill's",
    ),
    "qwen-code": ("Qwen Code", "a job with its shell"),
    "aider": ("aider", "a file edited, streamed and whole"),
    "ccusage": (
        "`{}`",
        "its days, weeks, months, sessions and blocks beside those of `devflow costs`",
    ),
    "python-sdks": ("`{}` (Python)", "every scenario"),
    "interop": ("`{}` (Python)", "the adapter of [interop.md](interop.md), without a server"),
    "typescript-sdks": ("`{}` (TypeScript)", "every scenario"),
}
"""By group; what clients need beside them has no row."""


def clients_page() -> str:
    """The table of pinned clients."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from clients.pinned import VERSIONS, pinned_versions

    rows: list[str] = []
    for group, (name, words) in CLIENT_ROWS.items():
        if group == "claude-code":
            rows.append(f"| {name} | {', '.join(VERSIONS)} | {words} |\n")
            continue
        for package, version in pinned_versions(group).items():
            rows.append(f"| {name.format(package)} | {version} | {words} |\n")
    return CLIENTS_HEADER + "".join(row for row in rows if "`zod`" not in row)  # a peer of `ai`


def settings_page() -> str:
    """The table of settings with their docstrings, and the well-known variables."""
    meanings = _docstrings()
    rows = "".join(
        f"| `{name}` | {'●' if name in settings.TASTE else ''} | {_type_name(field.annotation)} "
        f"| {_default(field.default)} | {meanings.get(name, '')} |\n"
        for name, field in Settings.model_fields.items()
        if name != "xdg_data_home"
    )
    variables = (
        dict.fromkeys(settings.API_KEY_VARIABLES[1:], "api_key") | settings.ENVIRONMENT_ALIASES
    )
    others = "".join(f"| `{variable}` | `{name}` |\n" for variable, name in variables.items())
    return HEADER + rows + OTHER_NAMES + others


def _docstrings() -> dict[str, str]:
    """The string under each field of the class and of those it inherits, on one line."""
    found: dict[str, str] = {}
    for kind in (Settings, *Settings.__bases__):
        found |= _docstrings_of(kind)
    return found


def _docstrings_of(kind: type) -> dict[str, str]:
    (definition,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - it is the source of a class
    found: dict[str, str] = {}
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[field.target.id] = " ".join(text.split())
                case _:
                    pass
    return found


def _type_name(annotation: object) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    for noise in (
        "typing.",
        "pydantic.types.",
        "collections.abc.",
        "pathlib.",
        "decimal.",
        "devflow_core.provider_settings.",
    ):
        text = text.replace(noise, "")
    text = re.sub(r"Optional\[Annotated\[(\w+), .*\]\]", r"\1", text)  # a value that is checked
    return text.replace(" | None", "").replace("|", "or")


def _default(value: object) -> str:
    if value is None or value in ((), {}) or str(value) == ".":
        return ""
    return f"`{value}`"


GROUPS = {
    "gateway": "Every gateway",
    "messages": "Messages (`--claude-code`)",
    "responses": "Responses (`--codex`)",
    "chat": "Chat completions (`--openai`)",
}
BEGIN, END = "<!-- clauses: begin -->\n", "<!-- clauses: end -->\n"


def doctor_page() -> str:
    """The page of the doctor, with the table of its clauses between the marks."""
    text = (HERE / "doctor.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    tables = "\n".join(
        f"### {title}\n\n| clause | promise | calls | tokens of each |\n| --- | --- | --- | --- |\n"
        + "".join(
            f"| `{one.name}` | {one.sentence} | {one.effort.calls or 'none'} | {_tokens(one)} |\n"
            for one in CLAUSES
            if one.group == group
        )
        for group, title in GROUPS.items()
    )
    return before + BEGIN + tables + END + rest.partition(END)[2]


def _tokens(clause: Clause) -> str:
    effort = clause.effort
    return f"{effort.input_tokens:,} + {effort.output_tokens:,}" if effort.calls else ""


PAGES = {"settings.md": settings_page, "doctor.md": doctor_page, "clients.md": clients_page}


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` name those that are out of date."""
    stale = 0
    for name, make in PAGES.items():
        page, text = HERE / name, make()
        if page.exists() and page.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            sys.stderr.write(f"docs/{name} is out of date; run `make docs`\n")
            stale = 1
        else:
            page.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
