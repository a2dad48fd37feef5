"""Keeps entries in an emergency file while the database cannot be written."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from threading import Lock
from zlib import crc32

from devflow_core.errors import ConfigurationError, StoreError
from devflow_core.ledger import LedgerEntry
from devflow_core.private_files import ensure_private_folder, open_private_file, read_private_file

from devflow_store.chain.records import decode_entry, encode_record

SIZE_BYTES = 8 * 1024 * 1024
"""The size of each file, allocated at the start so that a full disk cannot prevent it later."""
MAX_ENTRIES = 10_000
"""The most entries per file.

Entries without an attempt may fill only half of it: entries with a cost come first.
"""
_MAX_FILES = 64
"""The most processes that can have an emergency file in one folder at the same time."""
_FILE_NAME = "ledger.emergency-"
_RECORD_HEADER = struct.Struct("<II")
"""The length and CRC-32 of a record; a length of 0 ends the file."""


class OverflowFile:
    """This process's emergency file, locked until `close`; the file of a dead process is reused.

    Args:
        folder: holds one file per process, named by the first free number.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle: int | None = None
        self._end = 0
        self._count = 0
        self._lock = Lock()

    @property
    def count(self) -> int:
        """The number of waiting entries."""
        return self._count

    def open(self) -> None:
        """Take a file; the entries that an earlier process left in it wait to be drained.

        A crashed process's file becomes free, so the next start takes it and drains it. The caller
        calls `close`.

        Raises:
            ConfigurationError: the folder or the file is not private.
            StoreError: no file can be created.
        """
        try:
            ensure_private_folder(self._folder)
            self._handle = self._acquire_file()
            _allocate(self._handle)
        except OSError as error:
            raise StoreError(
                f"The emergency file of the ledger cannot be made in {self._folder}: "
                f"{error.strerror}."
            ) from error
        records = self._read_records()
        self._end, self._count = _measure(records), len(records)

    def add(self, entry: LedgerEntry) -> None:
        """Add an entry; it is durable on return. Blocks until the disk has it.

        Raises:
            InvalidRequest: a label cannot be encoded.
            StoreError: the file is full or cannot be written: the entry is stored nowhere.
        """
        record = encode_record(entry)
        with self._lock:
            self._ensure_linked()
            self._append(record, 1 if entry.attempts else 2)

    def read_entries(self) -> list[LedgerEntry]:
        """Return the waiting entries, in the order they were added."""
        with self._lock:
            return [decode_entry(record) for record in self._read_records()]

    def clear(self, count: int) -> None:
        """Remove all entries if there are `count` of them; if more have been added, keep all.

        Entries kept although the database has them are recognised by their keys at the next drain.
        """
        with self._lock:
            if self._handle is None or self._count != count:
                return
            os.pwrite(self._handle, bytes(_RECORD_HEADER.size), 0)
            os.fdatasync(self._handle)
            self._end = self._count = 0

    def _ensure_linked(self) -> None:
        """Move to a new file if this one was deleted.

        Raises:
            StoreError: no file can be created; its entries are lost when this process ends.
        """
        if self._handle is None or os.fstat(self._handle).st_nlink:
            return
        old, waiting = self._handle, os.pread(self._handle, self._end, 0)
        try:
            self._handle = self._acquire_file()
            _allocate(self._handle)
            there = self._read_records()  # left by a process that is gone
            at = _measure(there)
            _write_whole(self._handle, waiting + bytes(_RECORD_HEADER.size), at)
            os.fdatasync(self._handle)
        except OSError as error:
            self._handle = old
            raise StoreError(
                f"The emergency file of the ledger was deleted, and none can be made in "
                f"{self._folder}: {error.strerror}."
            ) from error
        self._end, self._count = at + self._end, len(there) + self._count
        os.close(old)

    def _append(self, record: bytes, share: int) -> None:
        framed = (
            _RECORD_HEADER.pack(len(record), crc32(record)) + record + bytes(_RECORD_HEADER.size)
        )
        if (
            self._handle is None
            or self._count >= MAX_ENTRIES // share
            or self._end + len(framed) > SIZE_BYTES // share
        ):
            raise StoreError("The ledger cannot be written, and its emergency file is full.")
        try:
            _write_whole(self._handle, framed, self._end)
            os.fdatasync(self._handle)
        except OSError as error:
            raise StoreError(
                f"Neither the ledger nor its emergency file can be written: {error.strerror}."
            ) from error
        self._end += len(framed) - _RECORD_HEADER.size
        self._count += 1

    def close(self) -> None:
        """Release the file; the next process that takes it drains its entries."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _acquire_file(self) -> int:
        for number in range(_MAX_FILES):
            path = self._folder / f"{_FILE_NAME}{number}"
            handle = open_private_file(path, os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            return handle
        raise OSError(0, "", f"{_MAX_FILES} processes use it already")

    def _read_records(self) -> list[bytes]:
        if self._handle is None:
            return []
        return _split_records(os.pread(self._handle, SIZE_BYTES, 0))


def _split_records(content: bytes) -> list[bytes]:
    records: list[bytes] = []
    offset = 0
    while offset + _RECORD_HEADER.size <= len(content):
        length, check = _RECORD_HEADER.unpack_from(content, offset)
        offset += _RECORD_HEADER.size
        record = content[offset : offset + length]
        # a torn last record was never acknowledged
        if length == 0 or crc32(record) != check:
            break
        records.append(record)
        offset += length
    return records


def find_waiting_files(folder: Path) -> list[Path]:
    """Return a folder's emergency files with entries, of any process, except unreadable ones."""
    found: list[Path] = []
    for path in sorted(folder.glob(f"{_FILE_NAME}*")):
        try:
            content = read_private_file(path)
        except (OSError, ConfigurationError):
            continue  # opening it reports the error
        if _split_records(content):
            found.append(path)
    return found


def _measure(records: list[bytes]) -> int:
    """Return the number of bytes that records take in a file."""
    return sum(_RECORD_HEADER.size + len(record) for record in records)


def _write_whole(handle: int, content: bytes, at: int) -> None:
    """Write all bytes; after a short write, the next call continues or raises the real error."""
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, at)
        view, at = view[written:], at + written


def _allocate(handle: int) -> None:
    if os.fstat(handle).st_size < SIZE_BYTES:
        os.posix_fallocate(handle, 0, SIZE_BYTES)
        os.fsync(handle)
