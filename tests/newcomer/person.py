"""A person who has installed the wheels, and what they type."""

import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from integration.living import until
from integration.page_blocks import ROOT

PATIENCE_S = 120
READY = "(Ctrl-C stops it)"
"""Ends what a server says once it takes requests."""


@dataclass(frozen=True)
class Done:
    """The result of a command of the shell that has ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Newcomer:
    """A person with a home of their own, and the wheels in a virtual environment."""

    home: Path
    programs: Path
    """The folder of the virtual environment's programs."""
    upstream: Mapping[str, str] = field(default_factory=dict[str, str])
    """The lines that the stand-in asks for, as an environment."""

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{self.programs.parent / 'shims'}:{self.programs}:/usr/bin:/bin"
        # a server on the usual port would meet whatever runs on this machine
        own = {"HOME": str(self.home), "PATH": path, "DEVFLOW_PORT": "0", "LC_ALL": "C.UTF-8"}
        return own | dict(self.upstream) | more

    def run(self, *arguments: str, stdin: str = "", **more: str) -> Done:
        """Run a program of the environment to its end, in the home."""
        done = subprocess.run(
            arguments,
            cwd=self.home,
            env=self.environment(**more),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def type(self, line: str, **more: str) -> Done:
        """Run a line of the shell, as it stands on a page."""
        return self.run("bash", "-c", f"{line}\nexit $?", **more)

    @contextmanager
    def running(self, line: str) -> Generator[str]:
        """Run a line that goes on until Ctrl-C; yield what it says when it is ready."""
        out, err = self.home / "running.out", self.home / "running.err"
        with out.open("wb") as told, err.open("wb") as complained:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=complained,
            )
        try:
            until(
                lambda: READY in out.read_text() or process.poll() is not None, f"{line} is ready"
            )
            assert process.poll() is None, err.read_text()
            yield out.read_text()
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE_S)
        assert process.returncode in (0, 130), err.read_text()
        assert "Traceback" not in err.read_text()


def uv() -> str:
    """Return the uv of `make`: its own variable, the PATH's, or the checkout's."""
    return os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
