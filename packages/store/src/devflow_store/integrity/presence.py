"""A ledger that was there once is never replaced by an empty one without a word."""

from __future__ import annotations

from pathlib import Path

from devflow_core.errors import LedgerCorrupt

from devflow_store.chain.overflow import find_waiting_files
from devflow_store.health import LedgerState, LedgerUnavailable
from devflow_store.integrity.backup import HeadFile


def require_ledger(path: Path) -> None:
    """Check that there is a file with something in it, before SQLite takes it for a new one.

    Raises:
        LedgerCorrupt: it is gone or empty, and a note beside it shows that it was not.
        LedgerUnavailable: there is none.
    """
    if has_content(path):
        return
    refuse_successor(path)
    raise LedgerUnavailable(f"There is no ledger at {path}.", LedgerState.VANISHED)


def refuse_successor(path: Path) -> None:
    """Check that nothing beside a missing ledger shows that there was one.

    Raises:
        LedgerCorrupt: it has rows somewhere; says what to do.
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
    """Whether there is a ledger, or was one that has rows."""
    return path.exists() or bool(_find_proofs(path))


def has_content(path: Path) -> bool:
    """Whether a file is there and not empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _find_proofs(path: Path) -> list[tuple[Path, str]]:
    """Files beside a ledger that show that it had rows, each with a sentence."""
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
