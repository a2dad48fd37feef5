"""Names that come from elsewhere (of providers, models, calls, kinds of errors), before use.

They go into headers, rows of the ledger, tables and pages, so they are short, of a few
characters, and without a secret.
"""

from __future__ import annotations

import re

from devflow_core.masking.masker import mask

MAX_NAME_CHARS = 200
_CHARS = r"\w .:/@+~(){}\[\]&',*!=-"
_PLAIN = re.compile(rf"[{_CHARS}]{{0,{MAX_NAME_CHARS}}}", re.ASCII)
_OTHER = re.compile(rf"[^{_CHARS}]", re.ASCII)


def are_plain_names(*names: str | None) -> bool:
    """Whether each may be used as it is, as far as its characters and its length go."""
    return all(name is None or _PLAIN.fullmatch(name) is not None for name in names)


def clean_name(name: str | None) -> str | None:
    """The name without secrets, with `?` for what no name holds, and cut; None stays None."""
    if name is None:
        return None
    return _OTHER.sub("?", mask(name))[:MAX_NAME_CHARS]
