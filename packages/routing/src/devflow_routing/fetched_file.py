"""Stores what was last fetched from the provider: a private file that several processes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import orjson
from devflow_core.errors import ConfigurationError, DevFlowError
from devflow_core.messages import JsonObject
from devflow_core.private_files import ensure_private_folder, read_private_file, replace_file

T = TypeVar("T")
_Stamp = tuple[int, int, int]
"""The inode, the time of the last change in nanoseconds, and the size of a file."""


class FetchedFile:
    """Reads and replaces the file; of several writers, the last one wins.

    Args:
        path: the file; its folder is created when something is saved.
        content: what is in it, for messages: "list of models".
        tolerates_damage: whether a damaged file counts as missing, because it will be replaced.
    """

    def __init__(
        self, path: Path, *, content: str = "list of models", tolerates_damage: bool = False
    ) -> None:
        self.path = path
        self._content = content
        self._tolerates_damage = tolerates_damage
        self._known: _Stamp | None = None

    def has_changed(self) -> bool:
        """Return whether the file is in a state that this object has neither read nor written.

        False if there is no file.
        """
        stamp = self._stamp()
        return stamp is not None and stamp != self._known

    def read(self, decode: Callable[[JsonObject], T]) -> T | None:
        """Return what was saved; None if there is nothing, or something damaged is tolerated.

        Args:
            decode: reads a saved document; an error it raises means damage.

        Raises:
            ConfigurationError: the file cannot be read, is a link, or is damaged.
        """
        self._known = self._stamp()
        try:
            content = read_private_file(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from None
        try:
            return decode(orjson.loads(content))
        except (DevFlowError, ValueError, TypeError, KeyError, AttributeError):
            if self._tolerates_damage:
                return None
        raise ConfigurationError(
            f"{self.path} is damaged. Fetch the {self._content} anew with `devflow models refresh`,"
            " or delete it."
        )

    def save(self, document: JsonObject) -> None:
        """Replace the whole file.

        Raises:
            ConfigurationError: it cannot be written, or others may write to its folder.
        """
        try:
            ensure_private_folder(self.path.parent)
            replace_file(self.path, orjson.dumps(document))
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be written: {error.strerror}. The new {self._content} is used,"
                " and is lost when this process ends."
            ) from None
        self._known = self._stamp()

    def _stamp(self) -> _Stamp | None:
        try:
            found = self.path.lstat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
