"""A report as PDF is printed by a browser of this machine, if there is one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from devflow_cli import browser
from devflow_cli.testing import Devflow

PDF = ("report", "--format", "pdf", "-o", "report.pdf")
PRINTS = """#!/bin/sh
for one; do
  case "$one" in
    --print-to-pdf=*) target="${one#--print-to-pdf=}" ;;
    file://*) page="${one#file://}" ;;
  esac
done
echo "$@" > "%(said)s"
env >> "%(said)s"
printf '%%%%PDF-1.4 ' > "$target"
cat "$page" >> "$target"
"""
Install = Callable[[str], Path]


@pytest.fixture
def install(home: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a program named `chromium` on the path, and nothing else that prints."""
    (home / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}/bin")
    monkeypatch.setattr(browser, "BROWSERS", ("chromium",))
    monkeypatch.setattr(browser, "APPLICATIONS", ())

    def write(text: str) -> Path:
        program, said = home / "bin" / "chromium", home / "said"
        program.write_text(text % {"said": said} if "%(said)s" in text else text)
        program.chmod(0o755)
        return said

    return write


def test_a_browser_prints_the_page(
    devflow: Devflow, install: Install, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = install(PRINTS)
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-not-for-a-browser")
    done = devflow(*PDF)
    assert (done.status, "Written to report.pdf" in done.err) == (0, True)
    printed = (home / "report.pdf").read_text()
    assert printed.startswith("%PDF")
    assert "Cost by" in printed
    assert "--headless" in said.read_text()
    assert "not-for-a-browser" not in said.read_text()


def test_without_a_browser_it_says_what_to_install(
    devflow: Devflow, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "BROWSERS", ("no-such-browser",))
    monkeypatch.setattr(browser, "APPLICATIONS", ())
    done = devflow(*PDF)
    assert (done.status, "apt install chromium" in done.err) == (3, True)
    assert not (home / "report.pdf").exists()


def test_a_browser_that_fails_is_told(devflow: Devflow, install: Install, home: Path) -> None:
    install("#!/bin/sh\necho 'no usable sandbox' >&2\nexit 1\n")
    done = devflow(*PDF)
    assert (done.status, "no usable sandbox" in done.err) == (1, True)
    assert not (home / "report.pdf").exists()


def test_a_browser_that_hangs_is_ended_with_its_children(
    devflow: Devflow, install: Install, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(f"#!/bin/sh\nsleep 600 & echo $! > {home}/child\nwait\n")
    monkeypatch.setattr(browser, "PRINT_TIMEOUT_S", 1.0)
    done = devflow(*PDF)
    assert (done.status, "did not print within 1 s" in done.err) == (1, True)
    child = int((home / "child").read_text())
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or ") Z " in stat.read_text()


def test_a_pdf_needs_a_file(devflow: Devflow) -> None:
    done = devflow("report", "--format", "pdf")
    assert (done.status, "--output" in done.err) == (2, True)
