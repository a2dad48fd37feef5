"""Computes the hash chain, in which each row seals all rows before it."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

GENESIS = bytes(32)
"""The hash that the first row is linked to."""


class ChainRow(NamedTuple):
    """A row of the chain without its hash."""

    seq: int
    """The number of the row, from 1 without gaps."""
    kind: int
    """The value of a `RowKind`."""
    key: str
    """A text that is unique in the chain; a write of unknown outcome is looked up by it."""
    ref: int | None
    """The number of the row that this one changes; None if it changes none."""
    at_us: int
    """When the row's subject began, in microseconds since 1970."""
    digest: bytes
    """SHA-256 of the body; it is kept when the body is erased."""


def hash_body(body: bytes) -> bytes:
    """Return the SHA-256 of a body."""
    return sha256(body).digest()


def hash_row(previous: bytes, row: ChainRow) -> bytes:
    """Return the hash of a row that follows the row with the hash `previous`."""
    seq, kind, key, ref, at_us, digest = row
    return sha256(previous + digest + f"{seq}|{kind}|{ref}|{at_us}|{key}".encode()).digest()
