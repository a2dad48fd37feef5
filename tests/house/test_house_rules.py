"""The rules of docs/architecture.md that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from devflow_core.settings import Settings
from house.code_map import body_lines, read_module

ROOT = Path(__file__).parents[2]
SOURCES = sorted(ROOT.glob("packages/**/src/**/*.py"))
PROJECTS = sorted(ROOT.glob("packages/**/pyproject.toml"))
MOST_LINES = 400
MOST_FUNCTION_LINES = 40
FORBIDDEN_NAMES = {"utils", "helpers", "common", "base", "manager"}
PROVIDER_HOMES = ("devflow_openrouter", "devflow_sandbox")
"""Packages in which the provider's address may stand."""


def _ids(path: Path) -> str:
    return str(path.relative_to(ROOT / "packages"))


@pytest.mark.parametrize("path", SOURCES, ids=_ids)
def test_a_module_is_small_documented_and_well_named(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    module = read_module(path)
    assert text.count("\n") <= MOST_LINES
    assert ast.get_docstring(module.tree)
    assert path.stem not in FORBIDDEN_NAMES
    long = [one.name for one in module.functions if body_lines(one) > MOST_FUNCTION_LINES]
    assert long == []


@pytest.mark.parametrize("path", [one for one in SOURCES if one.name == "__init__.py"], ids=_ids)
def test_public_names_are_listed_and_sorted(path: Path) -> None:
    tree = read_module(path).tree
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    listed = [
        name
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(one, ast.Name) and one.id == "__all__" for one in node.targets)
        for name in ast.literal_eval(node.value)
    ]
    assert listed == sorted(listed)
    if imported and listed:
        assert imported <= {*listed, "TYPE_CHECKING", "Any"} or "__getattr__" in ast.dump(tree)


def test_the_environment_is_read_in_settings_only() -> None:
    readers = [
        path.name
        for path in SOURCES
        if re.search(r"os\.environ|os\.getenv|getenv\(", path.read_text(encoding="utf-8"))
    ]
    assert sorted(readers) == ["environment.py", "settings.py"]


def test_a_providers_address_stands_at_home_only() -> None:
    strangers = [
        _ids(path)
        for path in SOURCES
        if "openrouter.ai" in path.read_text(encoding="utf-8")
        and path.name != "settings.py"
        and not any(home in path.parts for home in PROVIDER_HOMES)
    ]
    assert strangers == []


def test_nothing_of_ours_is_mocked() -> None:
    tests = [*ROOT.glob("packages/**/tests/**/*.py"), *ROOT.glob("tests/**/*.py")]
    mocking = [
        path.name
        for path in tests
        if re.search(r"mock\.patch|MagicMock|AsyncMock", path.read_text(encoding="utf-8"))
        and path != Path(__file__)
    ]
    assert mocking == []


def test_dangerous_calls_are_absent() -> None:
    pattern = re.compile(
        r"\bpickle\b|\bmarshal\b|\bshelve\b|yaml\.load\b|shell=True|verify=False|(?<![.\w])eval\("
    )
    found = [_ids(path) for path in SOURCES if pattern.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_there_is_one_version() -> None:
    versions = {tomllib.loads(path.read_text())["project"]["version"] for path in PROJECTS}
    assert len(versions) == 1


def test_the_changelog_has_a_dated_section_for_the_version() -> None:
    (version,) = {tomllib.loads(path.read_text())["project"]["version"] for path in PROJECTS}
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+)\](.*)$", text, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == version
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", dated) for _, dated in sections[1:])


def test_every_dependency_is_justified() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    missing: set[str] = set()
    for path in PROJECTS:
        project = tomllib.loads(path.read_text())["project"]
        wanted = [*project["dependencies"]]
        for extra in project.get("optional-dependencies", {}).values():
            wanted += extra
        names = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in wanted}
        missing |= {
            name for name in names if not name.startswith("devflow-") and f"`{name}`" not in page
        }
    assert missing == set()


def test_every_package_is_typed() -> None:
    for path in PROJECTS:
        assert list(path.parent.glob("src/*/py.typed")), path


def test_the_reference_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "docs/build.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_is_honoured() -> None:
    text = "".join(path.read_text("utf-8") for path in SOURCES if path.name != "settings.py")
    ignored = [name for name in Settings.model_fields if not re.search(rf"\.{name}\b", text)]
    assert ignored == ["xdg_data_home"]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packages/*/README.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_nothing_that_git_ignores_is_kept() -> None:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_the_workflow_runs_what_has_to_pass_before_a_change_lands() -> None:
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    targets = re.search(r"target: \[(.*)\]", workflow)
    assert targets is not None
    assert targets.group(1).split(", ") == re.findall(r"\bmake ([a-z-]+)", run)
