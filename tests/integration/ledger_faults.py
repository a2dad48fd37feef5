"""Ledger faults that can be undone, and the running server that they are applied to."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from devflow_cli.sandbox_process import run_sandbox
from devflow_cli.testing import RunningCommand
from integration import served
from integration.living import wait_until_ready
from integration.served import Reply, Served

PATIENCE_S = 60.0
_PAUSE_S = 0.005
_SHUT_DOWN = 0x8004587D
"""Of the file system, by an ioctl of ext4 and XFS: what is in memory is written before."""
BODY: dict[str, Any] = {
    "model": "anthropic/claude-haiku-4.5",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 16,
}
TRIO = ("ledger.db", "ledger.db-wal", "ledger.db-shm")
Undo = Callable[[], object]


@dataclass(frozen=True)
class LedgerFault:
    """A fault of a ledger's files."""

    name: str
    states: frozenset[str]
    """The states that may be reported for it."""
    strike: Callable[[Path], Undo]
    """Applies the fault to the data folder; returns how to undo it."""


@dataclass
class GatewayUnderFault:
    """A running gateway that gets requests without a pause, with those it acknowledged."""

    served: Served
    child: RunningCommand
    data_dir: Path
    acknowledged: list[str] = field(default_factory=list[str])
    """Ids of requests answered with 200."""

    def ask(self, path: str = "/v1/chat/completions", **fields: Any) -> Reply:
        """Send one paid request."""
        reply = self.served.ask("POST", path, {**BODY, **fields})
        if reply.status == 200:
            self.acknowledged.append(reply.headers["x-devflow-request-id"])
        return reply

    def readyz(self) -> tuple[int, str]:
        """Return the status of `/readyz` and the ledger's state in it."""
        reply = self.served.ask("GET", "/readyz")
        return reply.status, str(reply.json.get("ledger"))

    def metrics(self) -> dict[str, float]:
        """Return every sample of `/metrics`, by name and labels."""
        lines = self.served.ask("GET", "/metrics").body.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds."""
        for _ in range(round(PATIENCE_S / _PAUSE_S)):
            if is_so():
                return
            time.sleep(_PAUSE_S)
        raise AssertionError(f"not {what}: {self.child.err}")

    @contextmanager
    def asked_without_pause(self) -> Generator[None]:
        """Send requests during the block, one after the other."""
        is_over = Event()

        def run() -> None:
            while not is_over.wait(0.02):
                with suppress(OSError):
                    self.ask()

        asker = Thread(target=run)
        asker.start()
        try:
            yield
        finally:
            is_over.set()
            asker.join()


@contextmanager
def gateway(home: Path, *options: str, **more: str) -> Generator[GatewayUnderFault]:
    """Run `devflow serve` in front of a sandbox, over its own data folder."""
    data_dir = home / "data"
    data_dir.mkdir(mode=0o700, exist_ok=True)
    with (
        run_sandbox() as sandbox,
        served.start(
            home,
            *options,
            DEVFLOW_DATA_DIR=str(data_dir),
            OPENROUTER_BASE_URL=sandbox.base_url,
            OPENROUTER_API_KEY=sandbox.api_key,
            **more,
        ) as child,
    ):
        ready = child.wait_for_document()
        port = int(ready["url"].rpartition(":")[2])
        wait_until_ready(port)  # workers listen only after the address is told
        one = Served(child.pid, port, ready["first_key"], home)
        yield GatewayUnderFault(one, child, data_dir)
        assert child.is_running, child.err
        child.terminate()
        child.wait(PATIENCE_S)


def delete(*names: str) -> Callable[[Path], Undo]:
    """Return a fault that deletes files; they are restored from links kept elsewhere."""

    def strike(folder: Path) -> Undo:
        kept = _keep(folder, TRIO)
        for name in names:
            (folder / name).unlink()
        return lambda: [(kept / name).rename(folder / name) for name in names]

    return strike


def move_folder(folder: Path) -> Undo:
    away = folder.with_name("away")
    folder.rename(away)

    def undo() -> None:
        # a list of models that is fetched meanwhile makes a new folder
        shutil.rmtree(folder, ignore_errors=True)
        away.rename(folder)

    return undo


def replace_by_older(folder: Path) -> Undo:
    """Replace the data folder by one with an older copy of the ledger, and without its log."""
    other, away = folder.with_name("other"), folder.with_name("away")
    other.mkdir(mode=0o700)
    with (
        closing(sqlite3.connect(folder / "ledger.db")) as now,
        closing(sqlite3.connect(other / "ledger.db")) as copy,
    ):
        now.backup(copy)
        copy.execute("DELETE FROM chain WHERE seq > 2")
        copy.commit()
    for name in ("ledger.db.head", "client-keys.pepper"):
        with suppress(FileNotFoundError):
            shutil.copy2(folder / name, other / name)
    folder.rename(away)
    other.rename(folder)

    def undo() -> None:
        folder.rename(other)
        away.rename(folder)
        shutil.rmtree(other)

    return undo


def cut(name: str, share: int) -> Callable[[Path], Undo]:
    """Return a fault that cuts a file to 1/share of its length; 0 empties it."""

    def strike(folder: Path) -> Undo:
        file = folder / name
        content = file.read_bytes()
        os.truncate(file, len(content) // share if share else 0)
        return lambda: _overwrite(file, content)

    return strike


def zero(length: int | None) -> Callable[[Path], Undo]:
    """Return a fault that overwrites the database's first bytes, or all, with zeros."""

    def strike(folder: Path) -> Undo:
        file = folder / "ledger.db"
        content = file.read_bytes()
        _overwrite(file, bytes(len(content) if length is None else length))
        return lambda: _overwrite(file, content)

    return strike


def make_read_only(folder: Path) -> Undo:
    (folder / "ledger.db").chmod(0o400)
    return lambda: (folder / "ledger.db").chmod(0o600)


def hold_lock(folder: Path) -> Undo:
    """Hold the database's write lock, as another process in the middle of a write does."""
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def undo() -> None:
        other.execute("ROLLBACK")
        other.close()

    return undo


def fill_disk(folder: Path) -> Undo:
    """Fill the disk; use it only on a small disk mounted for the test."""
    filler = folder / "filler"
    with filler.open("wb", 0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler.unlink


FILE_FAULTS = (
    LedgerFault("deleted", frozenset({"vanished"}), delete("ledger.db")),
    LedgerFault("deleted with its log", frozenset({"vanished"}), delete(*TRIO)),
    LedgerFault("folder moved away", frozenset({"vanished"}), move_folder),
    LedgerFault("replaced by an older copy", frozenset({"replaced"}), replace_by_older),
    LedgerFault("cut to nothing", frozenset({"damaged"}), cut("ledger.db", 0)),
    LedgerFault("cut to a half", frozenset({"damaged"}), cut("ledger.db", 2)),
    LedgerFault("its log cut to nothing", frozenset({"damaged"}), cut("ledger.db-wal", 0)),
    LedgerFault("its log cut to a half", frozenset({"damaged"}), cut("ledger.db-wal", 2)),
    LedgerFault("its beginning zeroed", frozenset({"damaged"}), zero(100)),
    LedgerFault("zeroed", frozenset({"damaged"}), zero(None)),
    LedgerFault("made read-only", frozenset({"read_only"}), make_read_only),
    LedgerFault("locked", frozenset({"locked"}), hold_lock),
)
"""Faults that need no separate disk."""
DISK_FULL = LedgerFault("disk full", frozenset({"full"}), fill_disk)


@contextmanager
def small_disk(folder: Path, size: str = "32m") -> Generator[None]:
    """Mount a disk in memory at a folder, with room for a log of 16 MB and an emergency file of 8.

    Raises:
        PermissionError: this user may not mount one.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)
    if done.returncode:
        raise PermissionError(done.stderr.decode())
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True, timeout=60)
        yield


@contextmanager
def failing_disk(folder: Path) -> Generator[Path]:
    """Mount a file system in a file at a folder; it becomes read-only at its first error.

    Raises:
        PermissionError: this user may not mount one.
    """
    image = folder.with_name(f"{folder.name}.image")
    folder.mkdir(mode=0o700, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(48 * 1024 * 1024)
    commands = (
        ["mkfs.ext4", "-q", "-F", str(image)],
        ["mount", "-o", "loop,errors=remount-ro", str(image), str(folder)],
    )
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE_S)
        except FileNotFoundError as error:
            raise PermissionError(str(error)) from error
        if done.returncode:
            raise PermissionError(done.stderr.decode())
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True, timeout=60)
        folder.chmod(0o700)
        yield folder


def trip_disk(folder: Path) -> None:
    """Have the system find an error on a `failing_disk`, so that it makes it read-only.

    Raises:
        PermissionError: it cannot be had here.
    """
    device = os.stat(folder).st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    try:
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("a test")
    except OSError as error:
        raise PermissionError(str(error)) from error


def shut_disk(folder: Path) -> None:
    """Have every access to a `failing_disk` fail with an input/output error from now on."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, _SHUT_DOWN, (1).to_bytes(4, "little"))
    finally:
        os.close(handle)


def _keep(folder: Path, names: tuple[str, ...]) -> Path:
    """Keep hard links to files in a neighbouring folder, so that they survive deletion."""
    kept = folder.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(mode=0o700)
    for name in names:
        os.link(folder / name, kept / name)
    return kept


def _overwrite(file: Path, content: bytes) -> None:
    with file.open("r+b") as handle:
        handle.write(content)
