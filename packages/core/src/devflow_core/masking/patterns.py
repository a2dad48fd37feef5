"""Defines the forms of secrets: the second line of defence, for those not known by value.

A match is not a proof. Each pattern is a compromise between a key that passes and a line of code
that is made unreadable; the tests hold examples of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

_VALUE = r"[^\s\"'\\<>${}()\[\],;]"
"""A character of a value that was written into code or a shell without quotes."""
_QUOTE = r"\\?[\"']?"
_IS = rf"{_QUOTE}[ \t]{{0,4}}(?:=>|:=|[:=])[ \t]{{0,4}}{_QUOTE}"
_MIXED = rf"(?={_VALUE}{{0,80}}[0-9])(?={_VALUE}{{0,80}}[A-Za-z])"
_UNMASKED = r"(?!\[masked )"
_LETTERS_STARTS = ("passw", "passphrase", "pwd", "pass", "private_key", "api")
_LETTERS_NAMES = r"(?:passw(?:or)?d|passphrase|(?<![a-z])pwd|(?<=_)pass|private_key|api[-_]?key)"

_ORDINARY = re.compile(
    r"your|example|placeholder|changeme|redacted|masked|xxx|\*\*|\.\.\.|…"
    r"|pass|secret|token|key|user|value|name|field|str|input|none|null|undefined|true|false"
    r"|bool|int|any|self|this|env|config|setting|option|requir|default|param|arg|hash|crypt"
    r"|await|return|should|must|invalid|incorrect|missing|wrong|login|auth|client|request"
)
_WORD_SPLIT = re.compile(r"[^A-Za-z0-9]+")
_NAME = re.compile(r"[a-z]\w*[._]\w+(?:\.\w+)*")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Check = Callable[[str], bool]


class SecretPattern(NamedTuple):
    """A kind of secret; the text of the group `name`, if there is one, stays unmasked."""

    kind: str
    starts: tuple[str, ...]
    """Every match begins with one of these, in any letter case; only there the pattern is tried."""
    source: str
    is_secret: Check | None = None
    """The final check of whether a value that was found is a secret; None: it always is."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The pattern, compiled on first use, since compiling all would delay every start."""
        return _compile(self.source)


def _is_no_word(value: str) -> bool:
    """Return whether a value holds none of the words that names in code are usually made of."""
    return not _ORDINARY.search(value.lower())


def _is_random(value: str) -> bool:
    """Return whether a piece of the value mixes letters and digits as no name or number does."""
    if _UUID.fullmatch(value.lower()):
        return False
    return any(
        len(piece) >= 10
        and sum(char.isdigit() for char in piece) >= 2
        and sum(char.isalpha() for char in piece) >= 2
        for piece in _WORD_SPLIT.split(value)
    )


def _is_maker_key(value: str) -> bool:
    """Return whether a value is a key; our own names and those of packages consist of words."""
    if value.startswith("devflow_"):
        return not value.islower() or any(char.isdigit() for char in value)
    return len(value) >= 19 or any(char.isdigit() for char in value)


def _is_assigned_value(value: str) -> bool:
    """Return whether a value is a secret, not a name or an attribute path made of usual words."""
    is_name = _NAME.fullmatch(value) is not None
    return not is_name or _is_random(value) or not _ORDINARY.search(value.lower())


def _is_key_value(value: str) -> bool:
    """Return whether a value looks random; required where only the word `key` suggests a secret."""
    turns = sum(one.islower() != two.islower() for one, two in pairwise(value))
    return _is_random(value) or (value.isalnum() and len(value) >= 16 and turns > len(value) // 3)


def _is_variable_value(value: str) -> bool:
    return _is_random(value) or (value.isalnum() and _is_no_word(value))


def _is_option_value(value: str) -> bool:
    return not value.startswith(("-", "[")) and (not value.isalpha() or _is_no_word(value))


def _is_no_lower_word(value: str) -> bool:
    return not value.rstrip(".").isalpha() or not value.islower()


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


PATTERNS = (
    SecretPattern(
        "private key",
        ("-----begin ",),
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
        ),
    ),
    SecretPattern(
        "API key",
        (
            "sk-", "rk-", "pk-", "sk_", "rk_", "devflow_", "hf_", "aiza", "ya29.", "gocspx-",
            "gsk_", "xai-", "pplx-", "r8_", "npm_", "pypi-", "glpat-", "sg.", "doo_v1_", "dop_v1_",
            "dor_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "dapi", "hvs.", "lin_api_",
            "age-secret-key-",
        ),
        (
            r"sk-(?:or-v1|ant|proj)-[A-Za-z0-9_-]{16,}"
            r"|\b(?:(?:sk|rk|pk)-[A-Za-z0-9_-]{8,}|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}"
            r"|devflow_[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{30,}|AIza[A-Za-z0-9_-]{35}"
            r"|ya29\.[A-Za-z0-9_-]{16,}|GOCSPX-[A-Za-z0-9_-]{16,}|gsk_[A-Za-z0-9]{20,}"
            r"|xai-[A-Za-z0-9]{20,}|pplx-[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}"
            r"|pypi-[A-Za-z0-9_-]{50,}|glpat-[A-Za-z0-9_-]{20,}|do[opr]_v1_[a-f0-9]{16,}"
            r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16,}"
            r"|dapi[a-f0-9]{32}\b|hvs\.[A-Za-z0-9_-]{20,}|lin_api_[A-Za-z0-9]{30,}"
            r"|AGE-SECRET-KEY-1[A-Z0-9]{30,})"
        ),
        _is_maker_key,
    ),
    SecretPattern(
        "GitHub token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        (r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{40,})"),
    ),
    SecretPattern("AWS key", ("akia", "asia"), (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    SecretPattern(
        "Slack token",
        ("xox", "hooks.slack.com/"),
        (
            r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"
        ),
    ),
    SecretPattern(
        "JSON web token",
        ("eyj",),
        (r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"),
    ),
    SecretPattern(
        "bearer token",
        ("bearer ",),
        (r"(?i:(?P<name>bearer\s+))[A-Za-z0-9._~+/-]{8,}=*"),
        _is_no_lower_word,
    ),
    SecretPattern(
        "credentials",
        ("authorization",),
        (
            rf"(?i:(?P<name>authorization{_IS}(?:basic|token|digest|apikey|negotiate)\s+))"
            r"[A-Za-z0-9._~+/-]{8,}=*"
        ),
        _is_no_lower_word,
    ),
    SecretPattern(
        "cookie",
        ("cookie",),
        (
            rf"(?i:(?<![\w.])(?P<name>cookie{_QUOTE}:[ \t]{{0,4}}{_QUOTE}[\w.-]{{1,64}}=))"
            rf"{_UNMASKED}[^\r\n\"'\\<>${{}}()]{{8,}}"
        ),
    ),
    SecretPattern(
        "password in a URL",
        ("//",),
        (
            r"(?P<name>//[^\s:/@\"'\\]{0,64}:)(?!\[masked )[^\s:/@\"'\\<>{}$]{2,128}(?=@)"
        ),
    ),
    SecretPattern(
        "option",
        ("--pass", "--api", "--token", "--secret", "sshpass"),
        (
            r"(?i:(?P<name>(?<![\w-])--(?:password|passwd|pass|api-?key|token|secret)"
            rf"(?:=|[ \t]+){_QUOTE}|\bsshpass[ \t]+-p[ \t]?{_QUOTE})){_UNMASKED}{_VALUE}{{5,}}+"
        ),
        _is_option_value,
    ),
    SecretPattern(
        "assigned secret",
        ("secret", "token", "passw", "passphrase", "api", "access", "private", "account", "cred"),
        (
            r"(?i:(?P<name>(?:secret|token|passw(?:or)?d|passphrase|api[-_ ]?key|access[-_]?key"
            rf"|private[-_]?key|account[-_]?key|credential)s?{_IS})){_UNMASKED}{_MIXED}"
            rf"{_VALUE}{{8,}}+(?![(\[])"
        ),
        _is_assigned_value,
    ),
    SecretPattern(
        "password",
        _LETTERS_STARTS,
        (
            rf"(?i:(?P<name>{_LETTERS_NAMES}{_IS})){_UNMASKED}{_VALUE}{{8,}}+"
            r"(?=[ \t]*(?:$|[\"'\\;]))"
        ),
        _is_no_word,
    ),
    SecretPattern(
        "password",
        _LETTERS_STARTS,
        (rf"(?i:(?P<name>{_LETTERS_NAMES}=)){_UNMASKED}{_VALUE}{{8,}}+(?=\s)"),
        _is_no_word,
    ),
    SecretPattern(
        "variable",
        ("key=", "pass=", "pwd=", "secret=", "token=", "credential"),
        (
            r"(?P<name>(?<=[A-Z0-9_])(?:KEY|PASS|PWD|SECRET|TOKEN|CREDENTIALS?)="
            rf"{_QUOTE}){_UNMASKED}{_VALUE}{{8,}}+(?![(\[])"
        ),
        _is_variable_value,
    ),
    SecretPattern(
        "key",
        ("key",),
        (
            rf"(?i:(?<![a-z0-9])(?P<name>key{_IS})){_UNMASKED}"
            r"[A-Za-z0-9+/_-]{12,}+={0,2}(?![\w(.\[])"
        ),
        _is_key_value,
    ),
)  # fmt: skip
"""The patterns in the order in which they are tried, the most certain first."""
