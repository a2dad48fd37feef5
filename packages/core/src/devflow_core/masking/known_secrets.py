"""Finds the secrets of this process by their value, in any encoding that may echo them."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cached_property, lru_cache
from threading import Lock
from urllib.parse import unquote

from devflow_core.masking.invisible import ZERO_WIDTH, strip_zero_width

MIN_SECRET_CHARS = 8
"""The shortest value that is masked; shorter ones appear in too many words."""
MAX_REMEMBERED = 256
"""The number of values that `remember` keeps; the oldest are dropped first."""
KEY_IN_USE = "[masked key in use]"
"""The text that replaces a known secret."""
_PREFIX_CHARS = 20
"""The length of a prefix that gives a long secret away, even if the rest was cut off."""
_MIN_CUT_CHARS = 28
"""The shortest secret that is also found when it was cut off."""
_MIN_GAP_CHARS = 16
"""The shortest secret in which spaces are looked for; shorter ones may be words between spaces."""
_TAIL = rf"[\w.~+/=%\\{ZERO_WIDTH}-]*"
_HIDDEN_GAP = rf"(?:[{ZERO_WIDTH}]|\\u(?:00ad|20[0-6][0-9a-f]|feff))*"
_GAP = rf"(?:[\s{ZERO_WIDTH}]|\\[nrt]|\\u(?:00ad|20[0-6][0-9a-f]|feff))*"
"""What may separate two characters of a long secret: white space and zero-width characters.

In a short secret only the zero-width ones are looked for (`_HIDDEN_GAP`).
"""
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|x([0-9a-f]{2}))", re.IGNORECASE)


class SecretForms:
    """One secret, with its form in each encoding that may echo it.

    In any letter case; JSON-, percent- and HTML-escaped; with gaps; reversed; as hex; and as base64
    at any alignment.
    """

    def __init__(self, value: str) -> None:
        self.value = value

    @cached_property
    def needles(self) -> tuple[str, ...]:
        """Lower-case texts, one of which occurs in every text that holds the secret unescaped."""
        bare = _undress(self.value.lower())[1 if self._is_long else 0]
        digits = (self._data.hex(), self._data.hex(":"), self._data.hex(" "))
        found = (self.value.lower(), bare, bare[::-1], *digits, *self._base64_cores)
        return tuple(dict.fromkeys(_cut(one.lower()) for one in found))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A pattern for all forms; compiled (in milliseconds) only once a needle has been found."""
        bare, gap = (
            ("".join(self.value.split()), _GAP) if self._is_long else (self.value, _HIDDEN_GAP)
        )
        forms = [gap.join(map(_any_escape, bare))]
        if len(bare) >= _MIN_CUT_CHARS:
            forms.append(gap.join(map(_any_escape, bare[:_PREFIX_CHARS])) + _TAIL)
        forms.append(gap.join(map(re.escape, reversed(bare))))
        forms.append(r"(?:[\s:,-]|\\x|0x)*".join(f"{byte:02x}" for byte in self._data))
        forms += [rf"[A-Za-z0-9+/_-]?{_spaced(core)}=*" for core in self._base64_cores]
        return re.compile("|".join(forms), re.IGNORECASE)

    def is_in(self, text: str) -> bool:
        """Return whether a lower-case text holds one of the needles."""
        return any(needle in text for needle in self.needles)

    def is_hidden_in(self, views: tuple[str, str]) -> bool:
        """Return whether a needle is in a text without its escapes and gaps.

        Args:
            views: the text as `_undress` returns it.
        """
        return self.is_in(views[1 if self._is_long else 0])

    def mask(self, text: str) -> tuple[str, int]:
        """Return the text without this secret, and the number of times it was found.

        The whole text is replaced if it holds the secret in a form that no pattern describes.
        """
        count = text.count(self.value)
        if count:
            text = text.replace(self.value, KEY_IN_USE)
        if not self.is_hidden_in(_undress(text.lower())):
            return text, count
        masked, more = self.pattern.subn(KEY_IN_USE, text)
        if self.is_hidden_in(_undress(masked.lower())):  # in a form that no pattern describes
            return KEY_IN_USE, count + more + 1
        return masked, count + more

    @property
    def _is_long(self) -> bool:
        return len(self.value) >= _MIN_GAP_CHARS

    @property
    def _data(self) -> bytes:
        return self.value.encode("utf-8", "surrogatepass")

    @property
    def _base64_cores(self) -> tuple[str, ...]:
        """The parts of its base64 that do not depend on the characters before and after it."""
        cores: list[str] = []
        for before, skipped in ((0, 0), (1, 2), (2, 3)):
            encoded = b64encode(bytes(before) + self._data).rstrip(b"=").decode()
            is_whole = (before + len(self._data)) % 3 == 0
            core = encoded[skipped : None if is_whole else -1]
            cores += [core, core.replace("+", "-").replace("/", "_")]
        return tuple(dict.fromkeys(cores))


class KnownSecrets:
    """The secrets of this process: keys of the settings for good, others only while in use."""

    def __init__(self) -> None:
        self._forms: dict[str, SecretForms] = {}
        self._uses: Counter[str] = Counter()
        self._remembered: dict[str, None] = {}
        self._lock = Lock()

    def remember(self, values: Iterable[str | None]) -> None:
        """Mask these values from now on; None and those of fewer than 8 characters are ignored.

        Beyond `MAX_REMEMBERED` values, the oldest are no longer masked.
        """
        with self._lock:
            for value in values:
                if value and len(value) >= MIN_SECRET_CHARS and value not in self._remembered:
                    self._remembered[value] = None
                    self._forms[value] = forms_of(value)
            while len(self._remembered) > MAX_REMEMBERED:
                oldest = next(iter(self._remembered))
                del self._remembered[oldest]
                self._forget(oldest)

    def hold(self, value: str) -> None:
        """Mask this value until it has been released as often as it was held.

        A value of fewer than 8 characters is ignored.
        """
        if len(value) >= MIN_SECRET_CHARS:
            with self._lock:
                self._uses[value] += 1
                if value not in self._forms:
                    self._forms[value] = SecretForms(value)

    def release(self, value: str) -> None:
        """Undo one `hold`."""
        if len(value) >= MIN_SECRET_CHARS:
            with self._lock:
                self._uses[value] -= 1
                if self._uses[value] <= 0:
                    del self._uses[value]
                    self._forget(value)

    @contextmanager
    def using(self, *values: str) -> Generator[None]:
        """Mask these values inside the block."""
        for value in values:
            self.hold(value)
        try:
            yield
        finally:
            for value in values:
                self.release(value)

    def mask(self, text: str) -> tuple[str, int]:
        """Return the text without known secrets, and the number of secrets found."""
        if not self._forms or len(text) < MIN_SECRET_CHARS:
            return text, 0
        views = _undress(text.lower())
        total = 0
        for forms in list(self._forms.values()):
            if forms.is_hidden_in(views) or forms.value in text:
                text, count = forms.mask(text)
                total += count
        return text, total

    def _forget(self, value: str) -> None:
        if value not in self._remembered and value not in self._uses:
            self._forms.pop(value, None)


KNOWN_SECRETS = KnownSecrets()
"""The secrets of this process; code that creates or receives a key adds it here."""


@lru_cache(maxsize=512)
def forms_of(value: str) -> SecretForms:
    """Return the forms of a secret; cached, since the same secrets are checked often."""
    return SecretForms(value)


def holds_secret(text: str, secret: str | None) -> bool:
    """Return whether a text without escapes, such as a name, holds this secret in any encoding.

    False if there is no secret, or if the secret or the text has fewer than 8 characters.
    """
    if secret is None or len(secret) < MIN_SECRET_CHARS or len(text) < MIN_SECRET_CHARS:
        return False
    return forms_of(secret).is_in(text.lower())


def _cut(needle: str) -> str:
    return needle[:_PREFIX_CHARS] if len(needle) >= _MIN_CUT_CHARS else needle


def _undress(lowered: str) -> tuple[str, str]:
    """Return a lower-case text without its escapes, and the same without its spaces."""
    for _ in range(2):  # an escape may be escaped
        if "%" in lowered:
            lowered = unquote(lowered).lower()
        if "\\" in lowered:
            lowered = _unescape(lowered)
    if "&#" in lowered or "&amp" in lowered:
        lowered = html.unescape(lowered).lower()
    plain = strip_zero_width(lowered)
    return plain, "".join(plain.split())


def _unescape(lowered: str) -> str:
    for line_end in ("\\n", "\\r", "\\t"):
        lowered = lowered.replace(line_end, " ")
    if "\\u" in lowered or "\\x" in lowered:
        plain = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), lowered)
        return _join_surrogates(plain.replace("\\", "")).lower()
    return lowered.replace("\\", "")


def _join_surrogates(text: str) -> str:
    """Return a text with the two escaped halves of a character above U+FFFF joined again."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _any_escape(char: str) -> str:
    """Return a pattern for one character, plain or in any escape."""
    forms = [re.escape(char)]
    if char in "\"'\\/":
        forms.append(re.escape(f"\\{char}"))
    forms.append("".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass")))
    code = ord(char)
    halves = char.encode("utf-16-be", "surrogatepass").hex()
    forms.append("".join(rf"\\u{halves[at : at + 4]}" for at in range(0, len(halves), 4)))
    if code < 0x100:
        forms.append(rf"\\x{code:02x}")
    forms.append(f"&#(?:0*{code}|x0*{code:x});")
    return f"(?:{'|'.join(forms)})"


def _spaced(core: str) -> str:
    return r"\s*".join(map(re.escape, core))
