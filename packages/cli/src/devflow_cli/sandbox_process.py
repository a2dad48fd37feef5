"""Runs the stand-in as a child process, for commands that work without a key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from devflow_core.settings import Settings

STOP_TIMEOUT_S = 20.0
"""Seconds that the stand-in may take to end before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxProcess:
    """A running stand-in: its address, and the key it accepts."""

    base_url: str
    """The stand-in's address, which ends in `/api/v1`."""
    api_key: str

    @property
    def bill_url(self) -> str:
        """The URL of the stand-in's billing book."""
        return self.base_url.removesuffix("/api/v1") + "/sandbox/bill"

    def apply_to(self, settings: Settings, data_dir: Path | None = None) -> Settings:
        """Return settings that name the stand-in alone, with a ledger of its own.

        Its money, speed and list of models stay apart from real ones. Other providers are left out,
        so that nothing leaves this machine and no real call is booked here.

        Args:
            settings: the user's.
            data_dir: the folder of the stand-in's data; None: `find_sandbox_folder`.
        """
        from pydantic import SecretStr

        return settings.model_copy(
            update={
                "base_url": self.base_url,
                "api_key": SecretStr(self.api_key),
                # the pool is used before the single key, and holds a real provider's keys
                "api_keys": (),
                "management_key": None,
                "providers": {},
                "data_dir": data_dir or find_sandbox_folder(settings),
                "ledger_url": None,
            }
        )


def find_sandbox_folder(settings: Settings) -> Path:
    """Return the folder for calls to a stand-in: inside the settings', if that is for real ones."""
    from devflow_core.addresses import LOOPBACK_UPSTREAM
    from devflow_core.settings_sources import SANDBOX_FOLDER

    if settings.upstream == LOOPBACK_UPSTREAM:
        return settings.data_dir
    return settings.data_dir / SANDBOX_FOLDER


@contextmanager
def run_sandbox(*arguments: str) -> Generator[SandboxProcess]:
    """Start the stand-in on a free loopback port, and yield it; it ends with the context.

    Args:
        arguments: those of `python -m devflow_sandbox`.

    Raises:
        ConfigurationError: it did not start.
    """
    import orjson
    from devflow_core.environment import copy_child_environment
    from devflow_core.errors import ConfigurationError

    child = subprocess.Popen(  # noqa: S603 - our own module, our own arguments
        # -P: keeps files of the working directory from shadowing modules
        [sys.executable, "-P", "-m", "devflow_sandbox", "--until-stdin-ends", *arguments],
        # without our keys, since the stand-in needs none
        env=dict(copy_child_environment()),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us alone: it has to answer until we have ended
    )
    try:
        assert child.stdout is not None  # noqa: S101 - asked for above
        # its announcement; an empty line means that it ended instead
        line = child.stdout.readline()
        if not line:
            raise ConfigurationError("The stand-in did not start; its error is above.")
        ready = orjson.loads(line)
        yield SandboxProcess(base_url=ready["base_url"], api_key=ready["api_key"])
    finally:
        # the pipe's end would stop it as well; the signal is faster and leaves time to close
        child.terminate()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
