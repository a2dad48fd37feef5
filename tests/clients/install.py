"""Installs the clients of `pins/` into `.clients/`, or moves the pins to the newest versions.

Nothing of a package runs while it is installed: no install scripts, no builds. Every file is held
to the hash that its pin names, and what is there already is left alone. A pin moves only to what
can be installed and starts.
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
from tempfile import TemporaryDirectory

from pinned import (
    CLIENTS,
    FROZEN,
    GROUPS,
    PINS,
    command_of,
    has_program,
    pinned_versions,
    program_of,
)

MAX_AT_ONCE = 3
"""More would wait for the same network and the same two cores."""
STAMP = "installed-from"
"""The file in an installed folder that holds the digest of its pins."""
TIMEOUT_S = 600
PYTHON_IMPORTS = """
import importlib, importlib.metadata, re, sys
wanted = {re.sub("[-_.]+", "-", name).lower() for name in sys.argv[1:]}
for module, owners in importlib.metadata.packages_distributions().items():
    owned = {re.sub("[-_.]+", "-", name).lower() for name in owners} & wanted
    if owned and module.isidentifier() and module not in ("tests", "docs", "examples"):
        importlib.import_module(module)
"""
JAVASCRIPT_IMPORTS = "for (const name of process.argv.slice(1)) await import(name)"
NPM_FLAGS = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class CommandFailed(Exception):
    """A package manager that did not do what it was asked; the message holds its words."""


def install(name: str) -> bool:
    """Install one group unless it is there; return whether something was done."""
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
    if has_program(folder.name):
        try:
            program_of(folder.name).chmod(0o755)  # some pack it without; their launchers do this
        except FileNotFoundError as missing:
            raise CommandFailed(str(missing)) from None


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
    """Return whether the interpreter of a group from PyPI is still there; True for other groups."""
    python = folder / "bin" / "python"
    return python.exists() or not python.is_symlink()


def update() -> Iterator[str]:
    """Pin the newest versions that start; yield a line for each that moved or had to stay.

    The older Claude Codes stay where they are.
    """
    for name in GROUPS:
        if name in FROZEN:
            continue
        before, moved = pinned_versions(name), name
        with TemporaryDirectory() as folder:
            kept = shutil.copytree(PINS / name, Path(folder, name))
            try:
                moved = _move(name, before)
                install(moved)
                start(moved)
            except (CommandFailed, subprocess.TimeoutExpired) as failure:
                _put_back(name, moved, kept)
                versions = ", ".join(f"{package} {one}" for package, one in before.items())
                yield f"{name} stays at {versions}. {failure}"
                continue
        after = pinned_versions(moved)
        for package in sorted(after):
            if before.get(package) != after[package]:
                yield f"{package}: {before.get(package, 'new')} -> {after[package]}"


def start(name: str) -> None:
    """Start the program of an installed group, or import its libraries.

    Raises:
        CommandFailed: that cannot be done; the message holds what was said.
    """
    folder, packages = CLIENTS / name, list(pinned_versions(name))
    try:
        if has_program(name):
            command = [*command_of(name), "--version"]
        elif (folder / "bin" / "python").is_file():
            command = [str(folder / "bin" / "python"), "-c", PYTHON_IMPORTS, *packages]
        else:
            node = str(program_of("node"))
            command = [node, "--input-type=module", "-e", JAVASCRIPT_IMPORTS, *packages]
    except FileNotFoundError as missing:
        raise CommandFailed(str(missing)) from None
    with TemporaryDirectory() as home:
        _run(command, folder, {"PATH": os.environ["PATH"], "HOME": home})


def _put_back(name: str, moved: str, kept: Path) -> None:
    """Restore the pins of a group that has moved, maybe to another name."""
    shutil.rmtree(PINS / moved)
    if moved != name:
        shutil.rmtree(CLIENTS / moved, ignore_errors=True)
    shutil.copytree(kept, PINS / name)


def _move(name: str, before: dict[str, str]) -> str:
    """Pin the newest of one group; return its name, which has the version of a Claude Code."""
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
    """Return a digest of what a folder is installed from: its pins and, for Python, its version."""
    digest = hashlib.sha256(sys.version.encode() if (pins / "requirements.txt").is_file() else b"")
    for path in sorted(pins.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _uv() -> str:
    return os.environ.get("UV") or shutil.which("uv") or ".tools/bin/uv"


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    if shutil.which(command[0]) is None:
        raise CommandFailed(f"{command[0]} is not installed: clients cannot be installed.")
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
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
    """Install what is pinned, or with `--update` move the pins; return the exit code."""
    CLIENTS.mkdir(exist_ok=True)
    try:
        if arguments == ["--update"]:
            told = [_say(line) for line in update()]
            if not told:
                _say("Every pin is at the newest version.")
            return 0
        with ThreadPoolExecutor(MAX_AT_ONCE) as pool:
            list(pool.map(install, GROUPS))
    except (CommandFailed, subprocess.TimeoutExpired) as failure:
        _say(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
