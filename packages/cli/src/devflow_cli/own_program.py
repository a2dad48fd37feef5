"""Finds this DevFlow's own program file, which other programs start later, from anywhere."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

_NAME = "devflow"
_CACHE_TAG = "CACHEDIR.TAG"
"""The file that marks a folder as a cache (bford.info/cachedir); uv and pipx put it into theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnProgram:
    """The way in which this DevFlow is started."""

    path: Path
    """Absolute path of the program file, or of the link on the PATH that leads to it."""
    is_on_path: bool
    """Whether `devflow` starts this installation in any terminal of the user's."""
    cache: Path | None
    """The cache that the installation is a part of, and may vanish with; None for a lasting one."""

    @property
    def call_words(self) -> str:
        """The words that start it in a terminal, in shell syntax."""
        return _NAME if self.is_on_path else shlex.quote(str(self.path))


def find_own_program() -> OwnProgram:
    """Find the program file of the running DevFlow.

    Raises:
        ConfigurationError: there is no such file, as when modules are run from an archive.
    """
    from devflow_core.errors import ConfigurationError

    started, installed = Path(sys.argv[0]), Path(sysconfig.get_path("scripts")) / _NAME
    # a mere name says nothing of where the file is
    is_told = started.name == _NAME and len(started.parts) > 1 and _can_start(started)
    program = started.absolute() if is_told else installed
    if not _can_start(program):
        raise ConfigurationError(
            f"There is no program {installed} that Claude Code could start. Install DevFlow, with"
            " `uv tool install` or pip, and run the command again."
        )
    # the first `devflow` on the PATH counts, and it may be another program
    lasting = shutil.which(_NAME, path=lasting_search_path())
    is_on_path = lasting is not None and Path(lasting).resolve() == program.resolve()
    return OwnProgram(
        path=Path(lasting) if lasting is not None and is_on_path else program,
        is_on_path=is_on_path,
        cache=_find_cache(Path(sys.prefix).resolve()),
    )


def lasting_search_path() -> str:
    """Return the PATH that other programs of the user's may have: absolute folders that stay.

    `uv run` and an activated environment put their own folder on the PATH of their processes only,
    so the folder of this process's environment is left out.
    """
    from devflow_core.environment import copy_environment

    is_virtual = sys.prefix != sys.base_prefix
    own_folder = Path(sysconfig.get_path("scripts")).resolve() if is_virtual else None
    folders = (Path(name) for name in copy_environment().get("PATH", "").split(os.pathsep))
    lasting = (one for one in folders if one.is_absolute() and one.resolve() != own_folder)
    return os.pathsep.join(str(one) for one in lasting)


def _find_cache(environment: Path) -> Path | None:
    # uv marks a virtual environment itself too, so only the folders above it count
    return next((one for one in environment.parents if (one / _CACHE_TAG).is_file()), None)


def _can_start(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
