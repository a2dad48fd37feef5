"""The list of models as it was last fetched: a private file that several processes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
from devflow_core.errors import ConfigurationError, DevFlowError
from devflow_core.messages import JsonObject
from devflow_core.private_files import ensure_private_folder, read_private_file, replace_file

from devflow_routing.catalogue import Catalogue

_Stamp = tuple[int, int, int]


class CatalogueFile:
    """Reads and replaces the file; whoever writes last has the newest list.

    Args:
        path: of the file; its folder is made when a list is saved.
        tolerates_damage: a damaged file counts as none, since it is to be replaced.
    """

    def __init__(self, path: Path, *, tolerates_damage: bool = False) -> None:
        self.path = path
        self._tolerates_damage = tolerates_damage
        self._known: _Stamp | None = None

    def has_changed(self) -> bool:
        """Whether there is a file that this object has neither read nor written."""
        stamp = self._stamp()
        return stamp is not None and stamp != self._known

    def read(self, decode: Callable[[JsonObject], Catalogue]) -> Catalogue | None:
        """The list that was saved, or None where none was.

        Args:
            decode: a saved document as a catalogue; what it raises is damage.

        Raises:
            ConfigurationError: the file cannot be read, or holds something else.
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
            f"{self.path} is damaged. Fetch the list anew with `devflow models refresh`, or delete"
            " it."
        )

    def save(self, document: JsonObject) -> None:
        """Replace the file as a whole.

        Raises:
            ConfigurationError: it cannot be written, or the folder is not the user's alone.
        """
        try:
            ensure_private_folder(self.path.parent)
            replace_file(self.path, orjson.dumps(document))
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be written: {error.strerror}. The new list of models is used,"
                " and is lost when this process ends."
            ) from None
        self._known = self._stamp()

    def _stamp(self) -> _Stamp | None:
        try:
            found = self.path.lstat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
