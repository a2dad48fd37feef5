"""Every page below docs/extend is a change that applies, works, and costs what it says.

Applying a page is quick and done each time; the tests that a page names run in the copy, which
takes minutes, so they belong to `make test-laws`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "extend"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "README.md")
DIFF = re.compile(r"^```diff\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ uv run pytest (.*)$", re.MULTILINE)
COUNTED = re.compile(r"^\| .* \| (\d+) \| \[(.*?)\]", re.MULTILINE)
TOUCHED = re.compile(r"^\+\+\+ b/(.*)$", re.MULTILINE)


def _diff_of(page: Path) -> str:
    return "".join(DIFF.findall(page.read_text(encoding="utf-8")))


def _copy_with(page: Path, folder: Path) -> Path:
    """The tree as it is here, without what git does not keep, with the page's change applied."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = folder / "devflow"
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    done = subprocess.run(
        ["git", "apply", "-"],
        cwd=copy,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(folder)},
        input=_diff_of(page),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return copy


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_s_change_applies(page: Path, tmp_path: Path) -> None:
    copy = _copy_with(page, tmp_path)
    for name in TOUCHED.findall(_diff_of(page)):
        changed = (copy / name).read_bytes()
        assert not (ROOT / name).exists() or changed != (ROOT / name).read_bytes()


def test_the_table_counts_the_files_of_the_product() -> None:
    counted = {
        page: int(number)
        for number, page in COUNTED.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    }
    touched = {
        page.name: sum("/src/" in name for name in TOUCHED.findall(_diff_of(page)))
        for page in PAGES
    }
    assert counted == touched


@pytest.mark.extensions
@pytest.mark.timeout(3_600)  # each command of a page has its own deadline
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_adds_works_and_breaks_nothing(page: Path, tmp_path: Path) -> None:
    copy = _copy_with(page, tmp_path)
    sources = [str(one) for one in sorted(copy.glob("packages/**/src")) if one.is_dir()]
    commands = COMMAND.findall(page.read_text(encoding="utf-8"))
    assert commands, "a page says how to see that it works"
    for arguments in commands:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments.split()],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sources)},
            capture_output=True,
            text=True,
            timeout=1_200,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
