"""Looks for prompt injection in what users and tools say, before a request is sent.

Rules find the known phrases and nothing else; they are a seat belt, not a proof. A retrieval check
(similarity to known attacks, a classifier of your own) is added as a hook.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import structlog
from devflow_core.safe_text import clean_name

_log = structlog.get_logger("devflow.service")
MAX_CHECK_S = 10.0
"""Seconds after which a check that awaits counts as one that failed."""
MAX_GUARDED_CHARS = 200_000
"""The most characters that are searched: of a longer text, its first and its last half of them."""
MAX_FINDINGS = 8
"""The most findings recorded for one request."""
CHECK_FAILED = "check-failed"
"""The finding of a check that raised or took too long: it refuses in mode `refuse`."""

GuardCheck = Callable[[str], Iterable[str] | Awaitable[Iterable[str]]]
"""Returns the names of what it finds in a text; may be a coroutine function."""


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


GUARD_RULES: Mapping[str, re.Pattern[str]] = {
    "ignore-instructions": _rule(
        r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}"
        r"\b(?:previous|prior|above|earlier|all|your|system)\b[^.\n]{0,30}"
        r"\b(?:instructions?|rules?|prompts?|guidelines?|directives?)\b"
    ),
    "reveal-prompt": _rule(
        r"\b(?:reveal|show|print|repeat|output|leak|tell me)\b[^.\n]{0,30}"
        r"\b(?:your|system|hidden|initial)\b[^.\n]{0,20}\b(?:prompt|instructions)\b"
    ),
    "new-role": _rule(
        r"\byou are (?:now|no longer)\b[^.\n]{0,60}"
        r"\b(?:DAN|jailbroken|unrestricted|unfiltered|developer mode|without (?:any )?(?:rules|"
        r"restrictions|limits))\b|\bdeveloper mode (?:enabled|on)\b"
    ),
    "forged-turn": _rule(
        r"<\|(?:im_start|im_end|system|endoftext)\|>|\[/?INST\]|<</?SYS>>"
        r"|^\s*#{2,}\s*(?:system|assistant)\s*:?\s*$"
    ),
    "ignore-instructions-pl": _rule(
        r"\b(?:zignoruj|ignoruj|pomiń|zapomnij)\b[^.\n]{0,40}"
        r"\b(?:poprzednie|wszystkie|powyższe|swoje)\b[^.\n]{0,30}\b(?:instrukcje|polecenia|zasady)\b"
    ),
    "ignore-instructions-it": _rule(
        r"\b(?:ignora|dimentica)\b[^.\n]{0,40}"
        r"\b(?:precedenti|tutte|tue)\b[^.\n]{0,30}\b(?:istruzioni|regole)\b"
        r"|\b(?:ignora|dimentica)\b[^.\n]{0,30}\b(?:istruzioni|regole)\b[^.\n]{0,20}\bprecedenti\b"
    ),
}
"""Rules for phrases that are typical of attacks, in English, Polish and Italian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFinding:
    """What the guard has found in one request."""

    names: tuple[str, ...]
    """The rules that matched, then what the check returned; each once, `MAX_FINDINGS` at most."""
    is_refused: bool
    """Whether the request must not be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptGuard:
    """Rules and an optional check over the texts of a request that the application did not write.

    Messages of the roles `system`, `developer` and `assistant` are not searched.
    """

    mode: Literal["warn", "refuse"] = "warn"
    """`warn`: what was found is logged and kept with the ledger entry; `refuse`: also not sent."""
    rules: Mapping[str, re.Pattern[str]] = field(default_factory=lambda: dict(GUARD_RULES))
    """Names and patterns; a name is what logs and the ledger show."""
    check: GuardCheck | None = None
    """Gets the text that is searched; None: rules alone. If it fails, `check-failed` is found."""

    async def inspect(self, messages: Sequence[Mapping[str, Any]]) -> GuardFinding | None:
        """Return what was found in a conversation; None if nothing was.

        Args:
            messages: in OpenAI's form.
        """
        text = _shorten("\n".join(_texts_of(messages)))
        names = [name for name, rule in self.rules.items() if rule.search(text)]
        names += await self._ask_check(text)
        if not names:
            return None
        plain = (clean_name(name) or "unnamed" for name in names)
        found = tuple(dict.fromkeys(plain))[:MAX_FINDINGS]
        return GuardFinding(names=found, is_refused=self.mode == "refuse")

    async def _ask_check(self, text: str) -> list[str]:
        if self.check is None:
            return []
        try:
            async with asyncio.timeout(MAX_CHECK_S):
                found = self.check(text)
                return list(await found if inspect.isawaitable(found) else found)
        except Exception as error:  # noqa: BLE001 - the program's own code
            _log.warning("guard.check_failed", error=type(error).__name__)
            return [CHECK_FAILED]


def _texts_of(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the texts of users and tools."""
    for message in messages:
        if message.get("role") in ("system", "developer", "assistant"):
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            for part in cast("list[object]", content):
                text = cast("Mapping[str, object]", part).get("text") if _is_map(part) else None
                if isinstance(text, str):
                    yield text


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


def _shorten(text: str) -> str:
    half = MAX_GUARDED_CHARS // 2
    return text if len(text) <= 2 * half else f"{text[:half]}\n{text[-half:]}"
