"""Prints a page as PDF with a browser of this machine, without a window."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "microsoft-edge-stable",
    "msedge",
    "brave-browser",
)
"""Programs that print a page without a window. Firefox does so only under a driver."""
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
"""The paths at which macOS keeps such programs."""
PRINT_TIMEOUT_S = 60.0
"""Seconds that a browser may take: usually one, but far more at its first start."""
_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pdf-header-footer",
)


def print_pdf(html: str) -> bytes:
    """Return a page as PDF.

    The browser gets a profile of its own, which is deleted, and none of our keys.

    Raises:
        ConfigurationError: there is no browser; the message says what to install.
        DevFlowError: the browser failed or took too long.
    """
    from devflow_core.errors import ConfigurationError, DevFlowError

    program = next(_find_browsers(), None)
    if program is None:
        raise ConfigurationError(
            "A PDF is printed by a browser, and none was found. Install Chromium, Chrome or Edge"
            " (Debian: apt install chromium), or write --format html and print that page."
        )
    with tempfile.TemporaryDirectory(prefix="devflow-print-") as folder:
        page, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        page.write_text(html, encoding="utf-8")
        # Chromium refuses to run as root in its own sandbox; the page is ours and loads nothing
        as_root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
        said = _run(
            program,
            *_OPTIONS,
            *as_root,
            f"--user-data-dir={Path(folder) / 'profile'}",
            f"--print-to-pdf={target}",
            page.as_uri(),
        )
        content = target.read_bytes() if target.exists() else b""
    if not content.startswith(b"%PDF"):
        raise DevFlowError(
            f"{program} printed nothing: {_last_line(said)} Write --format html and print that"
            " page."
        )
    return content


def _find_browsers() -> Iterator[str]:
    yield from filter(None, map(shutil.which, BROWSERS))
    yield from (one for one in APPLICATIONS if Path(one).exists())


def _run(*command: str) -> str:
    """Run a browser, and return what it wrote to stderr; all its processes are ended.

    Raises:
        DevFlowError: it took longer than `PRINT_TIMEOUT_S`.
    """
    from devflow_core.environment import copy_child_environment
    from devflow_core.errors import DevFlowError

    child = subprocess.Popen(  # noqa: S603 - a browser of the user's PATH
        command,
        env=dict(copy_child_environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # a browser is many processes, which end together
    )
    try:
        return child.communicate(timeout=PRINT_TIMEOUT_S)[1]
    except subprocess.TimeoutExpired:
        raise DevFlowError(
            f"{command[0]} did not print within {PRINT_TIMEOUT_S:g} s. Try again, or write --format"
            " html and print that page."
        ) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if child.stderr is not None:
            child.stderr.close()


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it gave no reason."
