"""Masks secrets: by their value if it is known, otherwise by their form.

No other package masks. Texts from upstream, logs, errors, reports and exported transcripts all pass
through `mask`, or through a `Masker` where findings are counted. The content of a reply does not:
it belongs to the caller, and a key that a model writes into a file must arrive as written.
"""

from devflow_core.masking.invisible import escape_invisible
from devflow_core.masking.known_secrets import (
    KNOWN_SECRETS,
    KnownSecrets,
    holds_secret,
)
from devflow_core.masking.masker import Masker, mask

__all__ = [
    "KNOWN_SECRETS",
    "KnownSecrets",
    "Masker",
    "escape_invisible",
    "holds_secret",
    "mask",
]
