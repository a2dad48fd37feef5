"""Prevents a missing ledger from being replaced silently by an empty one."""

from __future__ import annotations

from pathlib import Path

from devflow_core.errors import LedgerCorrupt

from devflow_store.chain.overflow import find_waiting_files
from devflow_store.health import LedgerState, LedgerUnavailable
from devflow_store.integrity.backup import HeadFile


def require_ledger(path: Path) -> None:
    """Check that the file exists and is not empty, before SQLite takes it for a new one.

    Raises:
        LedgerCorrupt: it is missing or empty, and a file beside it shows that it had rows.
        LedgerUnavailable: there is no ledger.
    """
    if has_content(path):
        return
    refuse_successor(path)
    raise LedgerUnavailable(f"There is no ledger at {path}.", LedgerState.VANISHED)


def refuse_successor(path: Path) -> None:
    """Check that no file beside a missing or empty ledger shows that it had rows.

    Raises:
        LedgerCorrupt: there was a ledger with rows; the message says what to do.
    """
    proofs = _find_proofs(path)
    if not proofs:
        return
    what = "empty" if path.exists() else "missing"
    shown = " and ".join(text for _file, text in proofs)
    files = ", ".join(str(file) for file, _text in proofs)
    error = LedgerCorrupt(
        f"{path} is {what}, although {shown}. Put the file back, or the last good backup with "
        f"`devflow ledger restore BACKUP`. To begin anew with an empty ledger, remove {files}."
    )
    error.state = LedgerState.DAMAGED if path.exists() else LedgerState.VANISHED
    raise error


def is_ledger_known(path: Path) -> bool:
    """Return whether there is a ledger, or was one with rows."""
    return path.exists() or bool(_find_proofs(path))


def has_content(path: Path) -> bool:
    """Return whether a file exists and is not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _find_proofs(path: Path) -> list[tuple[Path, str]]:
    """Return files beside a ledger that show that it had rows, each with a sentence."""
    found: list[tuple[Path, str]] = []
    note, log = HeadFile(path), path.with_name(f"{path.name}-wal")
    if note.path.exists():
        head = note.read()
        number = head.partition(":")[0] if head else "some"
        if number != "0":
            found.append((note.path, f"{note.path.name} notes {number} rows of it"))
    if has_content(log):
        found.append((log, f"its log {log.name} is there"))
    found += [
        (file, f"{file.name} holds calls that wait for it")
        for file in find_waiting_files(path.parent)
    ]
    return found
