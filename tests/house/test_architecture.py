"""The promises of docs/architecture.md and docs/glossary.md about names, rooms and direction."""

import gzip
import re
import subprocess
import tomllib
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from devflow_core.settings import API_KEY_VARIABLES, ENVIRONMENT_ALIASES, Settings
from house.code_map import (
    ROOT,
    files_naming_the_provider,
    find_cycles,
    import_graph,
    shared_class_names,
    source_modules,
)

MAX_SHARED_NAMES = 5
MAX_FILES_NAMING_THE_PROVIDER = 8
DESIGN_FILES = (
    "gateway",
    "client.api_client",
    "client.auth",
    "client.rate_limiter",
    "client.circuit_breaker",
    "client.retry",
    "models.model_config",
    "models.model_selector",
    "models.task_classifier",
    "models.capabilities",
    "routing.router",
    "routing.cost_optimizer",
    "routing.performance_tracker",
    "routing.fallback",
    "analytics.cost_tracker",
    "analytics.usage_tracker",
    "analytics.reporter",
)
DESIGN_CLASSES = {
    "gateway": "OpenRouterGateway",
    "client.api_client": "ApiClient",
    "client.rate_limiter": "RateLimiter",
    "models.model_selector": "ModelSelector",
    "models.task_classifier": "TaskClassifier",
    "routing.router": "Router",
    "routing.cost_optimizer": "CostOptimizer",
    "routing.performance_tracker": "PerformanceTracker",
    "routing.fallback": "FallbackChain",
    "analytics.cost_tracker": "CostTracker",
    "analytics.usage_tracker": "UsageTracker",
    "analytics.reporter": "Reporter",
}
TEST_ONLY = {"pytest"}
"""Imported by the plugin that pytest itself loads."""
NOT_FOR_PEOPLE = {"XDG_DATA_HOME"}
"""Read because the system sets it; nobody has to be told."""
ADDRESS = re.compile(rb"[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
PUBLIC_ADDRESSES = re.compile(rb"@(?:[\w.-]+\.)?(?:example|test|invalid)(?:\.\w+)?$|^noreply@")
"""Reserved domains, and senders that no person reads."""


def test_no_module_is_in_an_import_cycle() -> None:
    assert find_cycles(import_graph(source_modules())) == []


def test_a_cycle_is_found_where_there_is_one() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set[str]()}
    assert find_cycles(graph) == [["a", "b", "c"]]


def test_a_class_name_stands_in_one_package_or_the_glossary_says_why() -> None:
    shared = shared_class_names(source_modules())
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    unexplained = [name for name in shared if f"| `{name}` |" not in glossary]
    assert unexplained == []
    assert len(shared) <= MAX_SHARED_NAMES


def test_the_provider_is_named_at_home_and_in_few_other_files() -> None:
    strangers = files_naming_the_provider(source_modules())
    assert len(strangers) <= MAX_FILES_NAMING_THE_PROVIDER, strangers


def test_a_package_declares_what_it_imports_and_nothing_else() -> None:
    projects = {
        path: tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.glob("packages/**/pyproject.toml"))
    }
    ours = {
        project["tool"]["uv"]["build-backend"]["module-name"]: [project["project"]["name"]]
        for project in projects.values()
    }
    distributions = {**packages_distributions(), **ours}
    wrong: dict[str, tuple[list[set[str]], set[str]]] = {}
    for path, content in projects.items():
        project = content["project"]
        extras = project.get("optional-dependencies", {}).values()
        declared = {_plain_name(one) for one in project["dependencies"]}
        optional = {_plain_name(one) for extra in extras for one in extra}
        package = next(path.parent.glob("src/*")).name
        modules = [one for one in source_modules() if one.package == package]
        imported = {top for module in modules for top in module.imported_packages() - {package}}
        # a namespace (`opentelemetry`) belongs to several distributions: one of them will do
        providers = [
            {_plain_name(one) for one in distributions.get(top, ())} - TEST_ONLY for top in imported
        ]
        missing = [one for one in providers if one and not one & (declared | optional)]
        unused = declared - set[str]().union(*providers)
        if missing or unused:
            wrong[package] = (missing, unused)
    assert wrong == {}


def _plain_name(requirement: str) -> str:
    name = re.split(r"[\[<>=!~; ]", requirement)[0].lower()
    return name.replace("_", "-")


def test_limits_are_named_max() -> None:
    found = [
        f"{module.path.name}: {name}"
        for module in source_modules()
        for name in re.findall(r"\b_?(?:MOST|LEAST|FEWEST|LONGEST|LARGEST)_\w+", module.text)
    ]
    assert found == []


@pytest.mark.parametrize("path", DESIGN_FILES)
def test_the_designs_files_are_importable_and_findable(path: str) -> None:
    module = import_module(f"devflow_openrouter.{path}")
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT / "packages" / "adapters" / "openrouter")
    if path in DESIGN_CLASSES:
        assert hasattr(module, DESIGN_CLASSES[path])
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"| `{path.replace('.', '/')}.py` |" in page


def test_the_example_environment_names_every_variable_that_is_read() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    secrets = {
        f"DEVFLOW_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation) and name not in {"api_key", "api_keys"}
    }
    wanted = {*API_KEY_VARIABLES, *ENVIRONMENT_ALIASES, *secrets} - NOT_FOR_PEOPLE
    missing = {name for name in wanted if not re.search(rf"^#? ?{name}=", example, re.MULTILINE)}
    assert missing == set()


def test_recorded_samples_hold_no_persons_address() -> None:
    found: set[str] = set()
    for path in _kept_files():
        if "samples" not in path.parts and "sessions" not in path.parts:
            continue
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        found |= {
            f"{path.name}: {address.decode()}"
            for address in ADDRESS.findall(content)
            if not PUBLIC_ADDRESSES.search(address)
        }
    assert found == set()


def _kept_files() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
