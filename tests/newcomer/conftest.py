"""Installs the wheels of all packages as a stranger would, and starts the stand-in from them.

Run by `make test-newcomer`.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.page_blocks import ROOT, put_session
from newcomer.person import PATIENCE_S, Newcomer, uv

EXPORT = re.compile(r"^\s*export (OPENROUTER_\w+)=(\S+)$", re.MULTILINE)
IS_UV = """#!/bin/sh
# `uv run` of a checkout, as far as the pages use it: here the wheels are installed already.
[ "$1" = run ] && shift && exec "$@"
echo "uv: only 'uv run' is here" >&2
exit 127
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.newcomer)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of each package of ours."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [uv(), "build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, timeout=PATIENCE_S)
    return folder


@pytest.fixture(scope="session")
def programs(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment that holds the wheels and what they depend on."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    python = folder / "bin" / "python"
    subprocess.run([uv(), "venv", "--quiet", str(folder)], check=True, timeout=PATIENCE_S)
    install = [uv(), "pip", "install", "--quiet", "--python", str(python)]
    given = [str(wheel) for wheel in sorted(wheels.glob("devflow_*.whl"))]
    subprocess.run([*install, *given], check=True, timeout=2 * PATIENCE_S)
    shims = folder / "shims"
    shims.mkdir()
    (shims / "uv").write_text(IS_UV)
    (shims / "uv").chmod(0o755)
    return folder / "bin"


@pytest.fixture(scope="module")
def upstream(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The stand-in of the wheels, as the tutorial starts it: what it says to export."""
    host = Newcomer(tmp_path_factory.mktemp("host"), programs)
    with host.running("devflow sandbox") as said:
        yield dict(EXPORT.findall(said))


@pytest.fixture
def stranger(programs: Path, tmp_path: Path) -> Newcomer:
    """Somebody who has installed DevFlow a minute ago, and has done nothing else."""
    home = tmp_path / "home"
    home.mkdir()
    return Newcomer(home, programs)


@pytest.fixture
def newcomer(stranger: Newcomer, upstream: dict[str, str]) -> Newcomer:
    """The same person with the stand-in as OpenRouter, and a Claude Code session in ~/src/shop."""
    put_session(stranger.home)
    return Newcomer(stranger.home, stranger.programs, upstream)
