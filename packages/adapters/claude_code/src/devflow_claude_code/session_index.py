"""Remembers the digest of every session in one private file, so that only changed ones are read.

The file is a cache: it may be deleted at any time, and is made anew if it is damaged or was written
by another version. It holds what `SessionDigest` does, and no other text of a conversation.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import orjson
from devflow_core.errors import SessionError
from devflow_core.private_files import ensure_private_folder, open_private_file

from devflow_claude_code.reading.paths import project_places, projects_dir
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.stamps import SessionFiles, find_session_files, read_owner
from devflow_claude_code.session_digest import (
    SessionDigest,
    decode_rows,
    digest_session,
    encode_rows,
)

INDEX_FILE = "sessions.db"
"""The name of the cache in the data folder."""
BUSY_TIMEOUT_S = 5.0
"""Seconds to wait for another process; after that, the sessions are read without the cache."""
MAX_UNSAVED = 100
"""The most sessions read before the cache is saved, so that an interrupted run loses little."""
MAX_PEEKED = 200
"""The most sessions that `peek_sessions` returns."""
_FORMAT = 1
_MAX_VARIABLES = 900
_FACTS = (
    "session_id", "project", "title", "client_version", "started_at", "last_at", "messages",
)  # fmt: skip
_TABLES = """
CREATE TABLE IF NOT EXISTS made_by (version TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stamp TEXT NOT NULL, last_at TEXT NOT NULL,
  messages INTEGER NOT NULL, checksum INTEGER NOT NULL, facts BLOB NOT NULL, rows BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS replies (name INTEGER NOT NULL, session INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS replies_by_name ON replies (name);
CREATE INDEX IF NOT EXISTS replies_by_session ON replies (session);
CREATE TABLE IF NOT EXISTS owners (path TEXT PRIMARY KEY, state TEXT NOT NULL, owner TEXT);
"""

T = TypeVar("T")
Progress = Callable[[int, int], object]
"""Called with how many sessions were read, and how many have to be."""


def with_index(data_dir: Path, config_dir: Path, use: Callable[[SessionIndex], T]) -> T:
    """Return what `use` returns for the index of a data folder; `use` may be called several times.

    A file that is damaged, or of another version, is made anew. Where it cannot be written, or
    another process holds it, an index in memory takes its place, which reads every transcript.

    Args:
        data_dir: the folder of the cache; created if it is missing.
        config_dir: Claude Code's own folder.
        use: reads from the index; it calls `refresh` first.

    Raises:
        ConfigurationError: the data folder is not private, or the cache is a link.
    """
    file = data_dir / INDEX_FILE
    for _ in range(2):
        try:
            with closing(_open_file(file)) as database:
                return use(SessionIndex(database, config_dir))
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                break
            file.unlink(missing_ok=True)
    with closing(_prepare(sqlite3.connect(":memory:", isolation_level=None))) as database:
        return use(SessionIndex(database, config_dir))


def peek_sessions(data_dir: Path, config_dir: Path) -> list[SessionDigest]:
    """Return the sessions that the cache knows, latest first, without looking for changes.

    Empty if there is no cache, or it cannot be read. Nothing is written, and no transcript is read.
    """
    file = data_dir / INDEX_FILE
    if not file.is_file() or file.is_symlink():
        return []
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return SessionIndex(database, config_dir).recent(MAX_PEEKED)
    except sqlite3.DatabaseError:
        return []


class SessionIndex:
    """The digests of all sessions below a configuration folder. Get one from `with_index`."""

    def __init__(self, database: sqlite3.Connection, config_dir: Path) -> None:
        self._database = database
        self._config_dir = config_dir

    def refresh(self, project: Path | None = None, *, progress: Progress | None = None) -> int:
        """Read sessions that were added or changed, and forget those gone; return how many it read.

        Args:
            project: a folder to look at only its sessions; None looks at all.
            progress: called after each session that was read.
        """
        stamps: dict[str, str] = dict(self._query("SELECT path, stamp FROM sessions"))
        seen: set[str] = set()
        changed: list[SessionFiles] = []
        for files in find_session_files(self._config_dir, project, self._find_owner):
            seen.add(str(files.path))
            if stamps.get(str(files.path)) != files.stamp:
                changed.append(files)
        unsaved: list[tuple[str, SessionDigest]] = []
        for done, files in enumerate(changed, 1):
            unsaved.append((files.stamp, digest_session(files)))
            if progress is not None:
                progress(done, len(changed))
            if len(unsaved) == MAX_UNSAVED or done == len(changed):
                self._save(unsaved)
                unsaved.clear()
        places = tuple(f"{one}{os.sep}" for one in self._places(project))
        gone = [path for path in stamps if path.startswith(places) and path not in seen]
        if gone:
            self._save((), gone)
        return len(changed)

    def recent(self, limit: int | None, project: Path | None = None) -> list[SessionDigest]:
        """Return at most `limit` sessions (None: all) that have messages, the latest first.

        With a `project`, only the sessions of that folder.
        """
        return self._load(self._listed(project)[:limit])

    def count(self, project: Path | None = None) -> int:
        """Return the number of sessions that `recent` knows of, in a `project` or in all."""
        return len(self._listed(project))

    def projects(self) -> dict[str, str]:
        """Return the folders that sessions were started in, with the time of the latest row."""
        found: dict[str, str] = {}
        for number, path, last_at, facts in self._query(
            "SELECT id, path, last_at, facts FROM sessions ORDER BY last_at DESC"
        ):
            folder = orjson.loads(facts)["project"]
            if folder is not None and self._filter([(number, path)], None):
                found.setdefault(folder, last_at)
        return found

    def since(self, last_at: str = "", project: Path | None = None) -> list[SessionDigest]:
        """Return the sessions with a row at or after a time, also those without messages.

        Args:
            last_at: RFC 3339 in UTC; "" is from the beginning.
            project: a folder, for only its sessions; None: those of all.
        """
        found = self._query(
            "SELECT id, path FROM sessions WHERE last_at >= ? ORDER BY path", last_at
        )
        return self._load(self._filter(found, project))

    def related(self, digests: Sequence[SessionDigest]) -> list[SessionDigest]:
        """Return the other sessions that hold copies of replies of these."""
        names = {name for digest in digests for name in _names(digest.rows)}
        known = {str(digest.path) for digest in digests}
        found = self._select("SELECT DISTINCT session FROM replies WHERE name IN", sorted(names))
        others = self._load(sorted({number for (number,) in found}))
        return [one for one in others if str(one.path) not in known]

    def _listed(self, project: Path | None) -> list[int]:
        found = self._query(
            "SELECT id, path FROM sessions WHERE messages > 0 ORDER BY last_at DESC, path"
        )
        return self._filter(found, project)

    def _filter(self, found: Iterable[tuple[int, str]], project: Path | None) -> list[int]:
        """Return the sessions of this configuration folder: the file may hold those of others."""
        places = tuple(f"{one}{os.sep}" for one in self._places(project))
        return [number for number, path in found if path.startswith(places)]

    def _load(self, numbers: Sequence[int]) -> list[SessionDigest]:
        """Return sessions in the order of the numbers given.

        Raises:
            sqlite3.DatabaseError: one of them is damaged.
        """
        found: dict[int, SessionDigest] = {}
        for number, path, stamp, checksum, facts, rows in self._select(
            "SELECT id, path, stamp, checksum, facts, rows FROM sessions WHERE id IN", numbers
        ):
            if checksum != _checksum(path, stamp, facts, rows):
                raise sqlite3.DatabaseError(f"{path}: damaged in the index")
            known: dict[str, Any] = orjson.loads(facts)
            found[number] = SessionDigest(path=Path(path), rows=decode_rows(rows), **known)
        return [found[number] for number in numbers]

    def _save(self, digests: Iterable[tuple[str, SessionDigest]], gone: Iterable[str] = ()) -> None:
        """Write digests with their stamps, and remove paths, in one transaction."""
        self._database.execute("BEGIN IMMEDIATE")
        with self._database:
            self._remove(gone)
            for stamp, digest in digests:
                self._write(stamp, digest)

    def _write(self, stamp: str, digest: SessionDigest) -> None:
        path, rows = str(digest.path), encode_rows(digest.rows)
        known = {name: getattr(digest, name) for name in _FACTS}
        facts = orjson.dumps(known)
        self._remove([path])
        number = self._database.execute(
            "INSERT INTO sessions (path, stamp, last_at, messages, checksum, facts, rows)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                path,
                stamp,
                digest.last_at or "",
                digest.messages,
                _checksum(path, stamp, facts, rows),
                facts,
                rows,
            ),
        ).lastrowid
        self._database.executemany(
            "INSERT INTO replies VALUES (?, ?)", [(one, number) for one in _names(digest.rows)]
        )

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            for (number,) in self._query("SELECT id FROM sessions WHERE path = ?", path):
                self._query("DELETE FROM replies WHERE session = ?", number)
                self._query("DELETE FROM sessions WHERE id = ?", number)

    def _find_owner(self, path: Path, state: str) -> str | None:
        known = self._query("SELECT owner FROM owners WHERE path = ? AND state = ?", path, state)
        if known:
            return known[0][0]
        try:
            owner = read_owner(path)
        except SessionError:
            return None
        self._query("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", path, state, owner)
        return owner

    def _places(self, project: Path | None) -> Iterator[Path]:
        if project is None:
            yield projects_dir(self._config_dir)
        else:
            yield from project_places(self._config_dir, project)

    def _query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        given = [str(one) if isinstance(one, Path) else one for one in values]
        return self._database.execute(statement, given).fetchall()

    def _select(self, statement: str, values: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement that ends in `IN`, however many values there are."""
        for at in range(0, len(values), _MAX_VARIABLES):
            part = values[at : at + _MAX_VARIABLES]
            yield from self._query(f"{statement} ({','.join('?' * len(part))})", *part)


def _names(rows: Iterable[TranscriptRow]) -> set[int]:
    """Return a number for each id by which a copy of a reply is recognized."""
    found: set[int] = set()
    for row in rows:
        if row.tokens is not None:
            origin = row.forked_from[1] if row.forked_from and row.forked_from[1] else row.uuid
            name = row.message_id or origin or ""
            digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()
            found.add(int.from_bytes(digest, signed=True))
    return found


def _checksum(path: str, stamp: str, facts: bytes, rows: bytes) -> int:
    return zlib.crc32(rows, zlib.crc32(facts, zlib.crc32(f"{path}\n{stamp}".encode())))


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether the file is at fault, rather than the disk or another process."""
    code = getattr(error, "sqlite_errorcode", None)
    is_missing_table = code == sqlite3.SQLITE_ERROR
    return is_missing_table or not isinstance(error, sqlite3.OperationalError)


def _open_file(file: Path) -> sqlite3.Connection:
    """Open the cache, which is created if it is missing.

    Raises:
        sqlite3.OperationalError: it cannot be written, or another process holds it.
        sqlite3.DatabaseError: it is damaged, or was made by another version.
    """
    try:
        ensure_private_folder(file.parent)
        os.close(open_private_file(file, os.O_RDWR | os.O_CREAT))
    except OSError as error:
        raise sqlite3.OperationalError(str(error)) from error
    database = sqlite3.connect(file, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        return _prepare(database)
    except BaseException:
        database.close()
        raise


def _prepare(database: sqlite3.Connection) -> sqlite3.Connection:
    """Create the tables in a new file, and check that another one is of this version.

    Raises:
        sqlite3.DatabaseError: it is damaged, or was made by another version.
    """
    version = f"{_FORMAT} {metadata.version('devflow-gateway-claude-code')}"
    if not database.execute("SELECT 1 FROM sqlite_master").fetchall():
        database.executescript(f"BEGIN IMMEDIATE; {_TABLES}")
        database.execute(
            "INSERT INTO made_by SELECT ? WHERE NOT EXISTS (SELECT * FROM made_by)", (version,)
        )
        database.execute("COMMIT")
    elif database.execute("SELECT version FROM made_by").fetchall() != [(version,)]:
        raise sqlite3.DatabaseError("made by another version")
    return database
