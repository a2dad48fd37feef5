"""Keeps the user's ratings of answers, by the ids of ledger entries, for a table to learn from."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
from devflow_core.errors import ConfigurationError
from devflow_core.private_files import ensure_private_folder, open_private_file, read_private_file

RATINGS_FILE = "ratings.jsonl"
"""The file in the data folder; each line is a JSON object: the id of an entry, and its score."""
MAX_FILE_BYTES = 64 * 1024 * 1024
"""The largest file that is read; about a million ratings."""


class Ratings:
    """The ratings in a data folder; the last one of an entry counts.

    Args:
        data_dir: the data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / RATINGS_FILE

    def add(self, entry_id: str, score: float) -> None:
        """Append a rating to the file, which is created if need be.

        Args:
            entry_id: the ledger entry of the answer.
            score: 0 (bad) to 1 (good).

        Raises:
            ValueError: the score is not within 0..1.
            ConfigurationError: the file cannot be written, or is a link.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"a score is within 0..1, not {score}")
        line = orjson.dumps({"entry": entry_id, "score": score}) + b"\n"
        try:
            ensure_private_folder(self.path.parent)
            # one write of a short line at the end, so that processes do not mix theirs
            file = open_private_file(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be written: {error.strerror}.") from None

    def read(self) -> dict[str, float]:
        """Return the score of every rated entry; lines that are no ratings are skipped.

        A line that was cut by a crash is one of them, together with the rating that follows it.

        Raises:
            ConfigurationError: the file cannot be read, is a link, or is too large.
        """
        try:
            content = read_private_file(self.path, max_bytes=MAX_FILE_BYTES)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}.") from None
        found: dict[str, float] = {}
        for line in content.splitlines():
            try:
                row = orjson.loads(line)
                found[str(row["entry"])] = min(max(float(row["score"]), 0.0), 1.0)
            except (ValueError, KeyError, TypeError):
                continue
        return found
