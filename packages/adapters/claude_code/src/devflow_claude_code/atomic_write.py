"""Files that appear whole under their name, or not at all."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path


def atomic_write(path: Path, content: bytes | None) -> None:
    """Replace a file; None removes it.

    A link is followed to its target, so that a settings file kept elsewhere stays a link. The mode
    of an existing file stays; a new one gets 0600, and its folders 0700.

    Raises:
        OSError: it could not be written; the old content is still there.
    """
    path = path.resolve()
    if content is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
