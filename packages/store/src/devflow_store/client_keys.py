"""Keeps the gateway's client keys; secrets are shown once and stored only as keyed hashes."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from devflow_core.close_names import offer_close_names
from devflow_core.errors import ConfigurationError, Conflict, InvalidRequest, NotFound
from devflow_core.ids import new_id
from devflow_core.private_files import create_file, ensure_private_folder, read_private_file

from devflow_store.chain.records import RowKind, from_us, to_us
from devflow_store.chain.transaction import Transaction
from devflow_store.chain.writer import WriteJob
from devflow_store.database.insert import Insert
from devflow_store.integrity.settings_seal import KEY_COLUMNS, seal_key

SECRET_PREFIX = "devflow_"  # noqa: S105 - how a client key is told from a provider's
CACHE_TTL_S = 1.0
"""Seconds that a key's state is cached, after which a revocation applies everywhere."""
MIN_READ_GAP_S = 0.2
"""The least seconds between two reads of the table.

All callers share one read, so that guessing keys does not load the ledger's writer.
"""
ROUTE_GROUPS = ("chat", "embeddings", "read", "operate")
"""The values allowed in `routes` of a key's scopes."""
RESERVED_NAMES = frozenset({"local", "anybody"})
"""Names under which the gateway books requests without a client key."""
_MAX_NAME_CHARS = 128
_PEPPER_BYTES = 32
_UNSEALED = (
    f"SELECT {', '.join(f'k.{name}' for name in KEY_COLUMNS)}, made.body FROM client_keys k "  # noqa: S608 - constants
    "JOIN chain made ON made.key = k.id LEFT JOIN chain sealed ON sealed.key = 'seal/' || k.id "
    "WHERE sealed.seq IS NULL"
)
"""Selects keys without a later seal, with the chain row of their creation."""
_COLUMNS = ("id", "name", "prefix", "scopes", "created_us", "expires_us", "revoked_us")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM client_keys"  # noqa: S608 - constants
_SELECT_IN_FORCE = f"SELECT {', '.join(_COLUMNS)}, hash FROM client_keys WHERE revoked_us IS NULL"  # noqa: S608
_KEY_ROWS = Insert("client_keys", (*_COLUMNS, "hash"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKey:
    """A client key without its secret, which is stored nowhere."""

    id: str
    name: str
    prefix: str
    """The first characters of the secret, by which people recognise it."""
    scopes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The permissions of the key, as given at its creation (`routes`, `models`)."""
    created_at: datetime
    expires_at: datetime | None = None
    """When the key expires; None if it never does."""
    revoked_at: datetime | None = None
    """When the key was revoked; None if it was not, though it may have expired."""


class ClientKeys:
    """The client keys of the ledger.

    Args:
        submit: runs a job and waits until it is durable.
        read_pepper: returns the secret that keys the hashes; without it no key can be checked.
    """

    def __init__(
        self, submit: Callable[[WriteJob[Any]], Awaitable[Any]], read_pepper: Callable[[], bytes]
    ) -> None:
        self._submit = submit
        self._read_pepper = read_pepper
        self._pepper: bytes | None = None
        self._known: dict[bytes, tuple[tuple[Any, ...], ClientKey]] = {}
        """Every key that was not revoked when the table was last read, by its hash."""
        self._read_at_s = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def create(
        self, name: str, scopes: Mapping[str, Any], expires_at: datetime | None = None
    ) -> tuple[ClientKey, str]:
        """Create a key; return it with its secret, which cannot be read again.

        Args:
            name: the label of its requests in the ledger; unique among keys that are not revoked.
            scopes: what it may do: `routes` (of `ROUTE_GROUPS`) and `models` (patterns).
            expires_at: when it expires; None is never.

        Raises:
            InvalidRequest: the name is not allowed, or a scope is unknown.
            Conflict: a key that is not revoked has this name, even if it has expired.
            ConfigurationError: the pepper cannot be read.
            StoreError: it could not be written.
        """
        _check_new(name, scopes)
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        key_hash, key_id = self._hash_secret(secret), new_id("key")
        prefix = secret[: len(SECRET_PREFIX) + 4]
        scopes_text = orjson.dumps(dict(scopes)).decode()

        def run(tx: Transaction) -> ClientKey:
            tx.flush()
            taken = "SELECT 1 FROM client_keys WHERE name = ? AND revoked_us IS NULL"
            if tx.execute(taken, (name,)):
                raise Conflict(f"There is a client key named {name!r} already; revoke it first.")
            ends = to_us(expires_at) if expires_at else None
            tx.execute(
                _KEY_ROWS.sql(),
                (key_id, name, prefix, scopes_text, tx.now_us, ends, None, key_hash),
            )
            values = (key_id, name, prefix, scopes_text, tx.now_us, ends, key_hash)
            tx.append(RowKind.CHANGE, key_id, seal_key(dict(zip(KEY_COLUMNS, values, strict=True))))
            return _key_from_row((key_id, name, prefix, scopes_text, tx.now_us, ends, None))

        def recover(tx: Transaction) -> ClientKey:
            return _load_key(tx, key_id)

        return await self._submit(WriteJob(run, key_id, recover)), secret

    async def seal(self) -> None:
        """Seal in the chain the scopes of keys made by a version that did not seal them.

        Raises:
            StoreError: it could not be written.
        """

        def run(tx: Transaction) -> None:
            tx.flush()
            for *row, body in tx.execute(_UNSEALED):
                if body is not None and b'"sealed"' not in bytes(body):
                    values = dict(zip(KEY_COLUMNS, row, strict=True))
                    tx.append(RowKind.CHANGE, f"seal/{row[0]}", seal_key(values))

        await self._submit(WriteJob(run))

    async def list(self) -> list[ClientKey]:
        """Return all keys, including revoked ones, oldest first.

        Raises:
            StoreError: the table cannot be read.
        """

        def run(tx: Transaction) -> list[ClientKey]:
            tx.flush()
            rows = tx.execute(f"{_SELECT} ORDER BY created_us, id")
            return [_key_from_row(row) for row in rows]

        return await self._submit(WriteJob(run))

    async def revoke(self, name_or_id: str) -> ClientKey:
        """Revoke a key and return it; other processes follow within a second.

        A key that was revoked before is returned unchanged.

        Args:
            name_or_id: the id, or the name of a key that is not revoked.

        Raises:
            NotFound: there is no such key.
            StoreError: the change could not be written.
        """

        def run(tx: Transaction) -> ClientKey:
            tx.flush()
            found = _find_by_name_or_id(tx, name_or_id)
            if found.revoked_at is None:
                tx.execute(
                    "UPDATE client_keys SET revoked_us = ? WHERE id = ?", (tx.now_us, found.id)
                )
                change = orjson.dumps({"client_key": found.id, "revoked": True})
                tx.append(RowKind.CHANGE, f"change/{tx.seq + 1}", change)
            return _load_key(tx, found.id)

        revoked = await self._submit(WriteJob(run))
        self._read_at_s = float("-inf")
        return revoked

    def find_known(self, secret: str) -> ClientKey | None:
        """Return the key with this secret if it was valid within the last second.

        None decides nothing: the key may be unknown, or the table was not read for too long.
        `verify` decides.

        Raises:
            ConfigurationError: the pepper cannot be read.
        """
        if not secret.startswith(SECRET_PREFIX):
            return None
        if time.monotonic() - self._read_at_s > CACHE_TTL_S:
            return None
        return self._find(self._hash_secret(secret))

    def find_former(self, secret: str) -> ClientKey | None:
        """Return the key with this secret if it was in force when the table was last read.

        None if it was not, has expired since, or the table was never read.

        Raises:
            ConfigurationError: the pepper cannot be read.
        """
        return self._find(self._hash_secret(secret)) if self._known else None

    async def verify(self, secret: str) -> ClientKey | None:
        """Return the key with this secret if it is valid; None otherwise.

        The secret is looked up by its keyed hash, so no comparison with a stored secret could leak
        by its duration. All keys are read at once: a known key is served from memory for a second;
        an unknown one waits for the next read, together with all other unknown keys.

        Raises:
            ConfigurationError: the pepper cannot be read.
            StoreError: the table cannot be read.
        """
        if not secret.startswith(SECRET_PREFIX):
            return None
        asked_s = time.monotonic()
        key_hash = self._hash_secret(secret)
        if asked_s - self._read_at_s > CACHE_TTL_S:
            await self._read_since(asked_s)
        found = self._find(key_hash)
        if found is None and self._read_at_s < asked_s:
            await self._read_since(asked_s)
            found = self._find(key_hash)
        return found

    async def refresh(self) -> None:
        """Read the table now, so that `find_known` is up to date; callers share one read.

        Raises:
            StoreError: the table cannot be read.
        """
        await self._read_since(time.monotonic())

    def _find(self, key_hash: bytes) -> ClientKey | None:
        known = self._known.get(key_hash)
        if known is None:
            return None
        key = known[1]
        has_ended = key.expires_at is not None and to_us(key.expires_at) <= time.time_ns() // 1000
        return None if has_ended else key

    async def _read_since(self, asked_s: float) -> None:
        """Wait for a read of the table that began after `asked_s`; all callers share it."""
        while self._read_at_s < asked_s:
            if self._reading is None:
                self._reading = asyncio.get_running_loop().create_task(self._read())
            await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            await asyncio.sleep(max(0.0, self._read_at_s + MIN_READ_GAP_S - time.monotonic()))
            began_s = time.monotonic()
            rows = await self._submit(WriteJob(_load_in_force, is_read=True))
            before, self._known = self._known, {}
            for *row, key_hash in rows:
                known = before.get(bytes(key_hash))
                is_same = known is not None and known[0] == tuple(row)
                entry = known if is_same and known else (tuple(row), _key_from_row(tuple(row)))
                self._known[bytes(key_hash)] = entry
            self._read_at_s = began_s
        finally:
            self._reading = None

    def _hash_secret(self, secret: str) -> bytes:
        if self._pepper is None:
            self._pepper = self._read_pepper()
        return hmac.new(self._pepper, secret.encode(errors="replace"), sha256).digest()


def load_pepper(path: Path) -> bytes:
    """Return the pepper from a file that only its owner can read; create it if it is missing.

    Raises:
        ConfigurationError: others can read the file, it is too short, or it cannot be used.
    """
    try:
        ensure_private_folder(path.parent)
        create_file(path, secrets.token_bytes(_PEPPER_BYTES))  # unless there is one
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} can be read by others. Run `chmod 600 {path}`.")
        pepper = read_private_file(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}.") from error
    if len(pepper) < _PEPPER_BYTES:
        raise ConfigurationError(
            f"{path} is cut short, so client keys cannot be checked. Restore it, or delete it and "
            "make the client keys anew."
        )
    return pepper


def _check_new(name: str, scopes: Mapping[str, Any]) -> None:
    if not name.strip() or len(name) > _MAX_NAME_CHARS or not name.isprintable():
        raise InvalidRequest(f"A client key's name has 1 to {_MAX_NAME_CHARS} visible characters.")
    if name in RESERVED_NAMES:
        raise InvalidRequest(
            f"The name {name!r} stands for requests without a client key; choose another one."
        )
    unknown = [one for one in scopes if one not in ("routes", "models")]
    if unknown:
        raise InvalidRequest(f"A client key has no scope {unknown[0]!r}: there are routes, models.")
    strange = [one for one in scopes.get("routes", ()) if one not in ROUTE_GROUPS]
    if strange:
        raise InvalidRequest(
            f"There are no routes called {strange[0]!r}; there are {', '.join(ROUTE_GROUPS)}."
        )


def _load_in_force(tx: Transaction) -> list[tuple[Any, ...]]:
    tx.flush()
    return tx.execute(_SELECT_IN_FORCE)


def _find_by_name_or_id(tx: Transaction, name_or_id: str) -> ClientKey:
    """Return a key by its id, else by its name: a name that looks like an id cannot hide a key.

    Raises:
        NotFound: there is none; the message offers close names.
    """
    for condition in ("id = ?", "name = ? AND revoked_us IS NULL"):
        rows = tx.execute(f"{_SELECT} WHERE {condition}", (name_or_id,))
        if rows:
            return _key_from_row(rows[0])
    names = [str(name) for (name,) in tx.execute("SELECT name FROM client_keys")]
    raise NotFound(
        f"There is no client key {name_or_id}; `devflow keys list` shows them."
        + offer_close_names(name_or_id, names)
    )


def _load_key(tx: Transaction, key_id: str) -> ClientKey:
    rows = tx.execute(f"{_SELECT} WHERE id = ?", (key_id,))
    if not rows:
        raise NotFound(f"There is no client key {key_id}.")
    return _key_from_row(rows[0])


def _key_from_row(row: tuple[Any, ...]) -> ClientKey:
    key_id, name, prefix, scopes, created_us, expires_us, revoked_us = row
    return ClientKey(
        id=key_id,
        name=name,
        prefix=prefix,
        scopes=orjson.loads(scopes),
        created_at=from_us(created_us),
        expires_at=None if expires_us is None else from_us(expires_us),
        revoked_at=None if revoked_us is None else from_us(revoked_us),
    )
