"""Keeps the key that `devflow init` was given: in the system's keyring, or in a private file.

A file in the user's configuration folder says where the key is, and for which address it is meant:
it is sent to no other.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devflow_core.errors import ConfigurationError
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.private_files import open_private_file, read_private_file, replace_file

CREDENTIALS_FILE = "credentials.toml"
"""The name of the file in the user's configuration folder."""
MAX_CREDENTIALS_BYTES = 64 * 1024
KEYRING_SERVICE = "devflow"
"""The name under which the keyring holds the key; the user name in it is the address."""
_OPEN_TO_OTHERS = 0o077


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """Where the user's key is kept."""

    file: Path
    """The file of credentials."""
    base_url: str
    """The address that the key is for."""
    secret: str | None = None
    """The key, if the file itself holds it; None: the keyring does."""

    def read(self) -> str:
        """Return the key.

        Raises:
            ConfigurationError: it is not in the keyring any more, or the keyring cannot be read.
        """
        if self.secret is not None:
            KNOWN_SECRETS.remember([self.secret])
            return self.secret
        keyring = _load_keyring()
        found = keyring and _ask(keyring.get_password, KEYRING_SERVICE, self.base_url)
        if not isinstance(found, str):
            raise ConfigurationError(
                "The key of `devflow init` cannot be read from the system's keyring, which may be"
                " locked. Unlock it, run `devflow init` again, or set a key in the environment."
            )
        KNOWN_SECRETS.remember([found])
        return found

    @property
    def place(self) -> str:
        """Where the key is, for people."""
        return "the system's keyring" if self.secret is None else str(self.file)


def find_stored_key(config_dir: Path | None, base_url: str) -> StoredKey | None:
    """Return where the key for an address is kept; None if none was stored for it.

    Raises:
        ConfigurationError: the file is damaged, unreadable, a link, or open to others.
    """
    file = config_dir / CREDENTIALS_FILE if config_dir else None
    if file is None or not file.exists():
        return None
    _refuse_open(file)
    try:
        content = read_private_file(file, max_bytes=MAX_CREDENTIALS_BYTES)
        values = tomllib.loads(content.decode())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}. Run `devflow init`.") from None
    secret = values.get("api_key")
    if values.get("base_url") != base_url:
        return None
    return StoredKey(
        file=file, base_url=base_url, secret=secret if isinstance(secret, str) else None
    )


def read_stored_key(config_dir: Path | None, base_url: str) -> tuple[str, ...]:
    """Return the key that was stored for an address; () if there is none.

    Raises:
        ConfigurationError: see `find_stored_key` and `StoredKey.read`.
    """
    stored = find_stored_key(config_dir, base_url)
    return (stored.read(),) if stored else ()


def store_key(config_dir: Path | None, base_url: str, key: str) -> StoredKey:
    """Keep a key in the keyring if there is one, else in the file; return where.

    Args:
        config_dir: the user's configuration folder; None if the user has no home.
        base_url: the address that the key is for.
        key: the key.

    Raises:
        ConfigurationError: the user has no home, or the file is a link.
        OSError: the file cannot be written.
    """
    if config_dir is None:
        raise ConfigurationError("There is no home to keep a key in; set HOME.")
    keyring = _load_keyring()
    is_kept = keyring is not None and (
        _ask(keyring.set_password, KEYRING_SERVICE, base_url, key) is not _FAILED
        and _ask(keyring.get_password, KEYRING_SERVICE, base_url) == key
    )
    file = config_dir / CREDENTIALS_FILE
    lines = (
        "# Written by `devflow init`: the key, or that the system's keyring holds it.",
        f"base_url = {base_url!r}",
        "keyring = true" if is_kept else f"api_key = {key!r}",
    )
    # a file from before may be open to others, and keeps its mode when it is replaced
    if file.exists():
        os.close(open_private_file(file, os.O_RDONLY))
        file.chmod(0o600)
    replace_file(file, ("\n".join(lines) + "\n").encode())
    return StoredKey(file=file, base_url=base_url, secret=None if is_kept else key)


_FAILED = object()


def _ask(call: Any, *arguments: str) -> Any:
    """Return what a keyring answers; `_FAILED` if it cannot: it is locked, or has no backend."""
    import keyring.errors

    try:
        return call(*arguments)
    except (keyring.errors.KeyringError, OSError, RuntimeError):
        return _FAILED


def _load_keyring() -> Any:
    """Return the keyring library if it is installed (extra `keyring`); else None."""
    try:
        import keyring
    except ImportError:
        return None
    return keyring


def _refuse_open(file: Path) -> None:
    if file.stat().st_mode & _OPEN_TO_OTHERS:
        raise ConfigurationError(f"{file} can be read by others. Run `chmod 600 {file}`.")
