"""Secrets are masked here and nowhere else: by their value where it is known, else by their form.

Texts from upstream, logs, errors, reports and transcripts on their way out all pass through
`mask`, or through a `Masker` where it is counted what was found. The content of a reply does not:
it is the caller's, and a key that a model writes into a file must arrive as it was written.
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
