"""Installs the clients of `pins/` into `.clients/`, or moves the pins to the newest versions.

Nothing of a package runs while it is installed: no install scripts, no builds. Every file is held
to the hash that its pin names, and what is there already is left alone.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pinned import CLIENTS, FROZEN, GROUPS, PINS, pinned_versions

MAX_AT_ONCE = 3
"""More would wait for the same network and the same two cores."""
STAMP = "installed-from"
"""The file in an installed folder that holds the digest of its pins."""
TIMEOUT_S = 600
NPM_FLAGS = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class CommandFailed(Exception):
    """A package manager that did not do what it was asked; the message holds its words."""


def install(name: str) -> bool:
    """Install one group unless it is there; whether something was done."""
    pins, folder = PINS / name, CLIENTS / name
    digest = _digest(pins)
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text(encoding="ascii") == digest and _has_python(folder):
        return False
    _say(f"Installing {name} into {folder} (only here) …")
    if (pins / "package.json").is_file():
        _install_from_npm(pins, folder)
    else:
        _install_from_pypi(pins, folder)
    stamp.write_text(digest, encoding="ascii")
    return True


def _install_from_npm(pins: Path, folder: Path) -> None:
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(pins, new)
    _run(["npm", "ci", *NPM_FLAGS], new)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _install_from_pypi(pins: Path, folder: Path) -> None:
    # in place: the programs of a virtual environment hold its path
    shutil.rmtree(folder, ignore_errors=True)
    # not this environment's own interpreter, which goes with it
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    _run([_uv(), "venv", "--quiet", "--python", str(base), str(folder)], pins)
    flags = ("--quiet", "--require-hashes", "--only-binary", ":all:")
    python = str(folder / "bin" / "python")
    _run([_uv(), "pip", "sync", *flags, "--python", python, "requirements.txt"], pins)


def _has_python(folder: Path) -> bool:
    """Whether the interpreter of a group from PyPI is still there; true of other groups."""
    python = folder / "bin" / "python"
    return python.exists() or not python.is_symlink()


def update() -> Iterator[str]:
    """Pin the newest versions; a line for each that moved. The older Claude Codes stay."""
    for name in GROUPS:
        if name in FROZEN:
            continue
        before = pinned_versions(name)
        moved = _move(name, before)
        after = pinned_versions(moved)
        for package in sorted(after):
            if before.get(package) != after[package]:
                yield f"{package}: {before.get(package, 'new')} -> {after[package]}"


def _move(name: str, before: dict[str, str]) -> str:
    """Pin the newest of one group; its name, which holds the version of a Claude Code."""
    pins = PINS / name
    if not (pins / "package.json").is_file():
        flags = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-header")
        files = ("requirements.in", "-o", "requirements.txt")
        _run([_uv(), "pip", "compile", "--quiet", "--upgrade", *flags, *files], pins)
        return name
    (pins / "package-lock.json").unlink(missing_ok=True)  # what others need moves along
    lock = ("--package-lock-only", "--save-exact", "--omit-lockfile-registry-resolved")
    _run(["npm", "install", *NPM_FLAGS, *lock, *(f"{one}@latest" for one in before)], pins)
    _leave_out_what_is_nowhere(pins / "package-lock.json")
    group = name.removesuffix(f"-{next(iter(before.values()))}")
    moved = f"{group}-{next(iter(pinned_versions(name).values()))}" if group != name else name
    pins.rename(PINS / moved)
    return moved


def _leave_out_what_is_nowhere(lock: Path) -> None:
    """Take optional packages out of a lock that the registry did not have: `npm ci` would stop."""
    content = json.loads(lock.read_text(encoding="utf-8"))
    locked = {path.rpartition("node_modules/")[2] for path in content["packages"]}
    for package in content["packages"].values():
        optional = package.get("optionalDependencies", {})
        for name in optional.keys() - locked:
            del optional[name]
    lock.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _digest(pins: Path) -> str:
    """What an installed folder depends on: its pins, and for Python's the interpreter."""
    digest = hashlib.sha256(sys.version.encode() if (pins / "requirements.txt").is_file() else b"")
    for path in sorted(pins.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _uv() -> str:
    return os.environ.get("UV") or shutil.which("uv") or ".tools/bin/uv"


def _run(command: list[str], folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise CommandFailed(f"{command[0]} is not installed: clients cannot be installed.")
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip()[-2000:]
        raise CommandFailed(f"{' '.join(command[:3])} in {folder} failed:\n{words}")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(arguments: list[str]) -> int:
    """Install what is pinned, or with `--update` move the pins; the exit code."""
    try:
        if arguments == ["--update"]:
            for line in list(update()) or ["Every pin is at the newest version."]:
                _say(line)
            return 0
        CLIENTS.mkdir(exist_ok=True)
        with ThreadPoolExecutor(MAX_AT_ONCE) as pool:
            list(pool.map(install, GROUPS))
    except (CommandFailed, subprocess.TimeoutExpired) as failure:
        _say(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
