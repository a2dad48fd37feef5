"""Fits the facts of a session to a token budget, by importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devflow_core.errors import SessionError
from devflow_core.masking import Masker, escape_invisible
from devflow_core.request import ContextPiece
from devflow_core.tokens import estimate_tokens

from devflow_claude_code.context.extraction import extract_facts
from devflow_claude_code.context.facts import Fact
from devflow_claude_code.reading.rows import TranscriptRow
from devflow_claude_code.reading.transcript import Transcript, gc_paused

DEFAULT_BUDGET_TOKENS = 8_000
"""The budget of a session whose caller sets none."""
_SHORTENED_CHARS = 480
"""The length to which facts are shortened before any is dropped."""
_ELLIPSIS_CHARS = 48
"""The characters kept free for the note that says how much was left out."""
_MAX_SECRET_CHARS = 512
"""The longest secret that is still recognized at a cut; private keys are treated separately."""
_HEADING_TOKENS = 12
"""The upper estimate for the heading of a piece (`[kind, line n]`) and the blank line after it."""
_SAMPLE_CHARS = 2_000
"""The beginning of a fact from which its tokens per character are estimated."""
_KIND_ORDER = (
    "goal", "summary", "decision", "note", "command", "file", "failure", "todo", "question",
    "exchange",
)  # fmt: skip
_ROW_TYPES = frozenset({"user", "assistant", "attachment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """The pieces of a session's context that fit the budget."""

    session_id: str
    pieces: tuple[ContextPiece, ...]
    """Sorted by kind, then by line; secrets are masked."""
    budget_tokens: int
    """The budget that the pieces were fitted to, in tokens."""
    left_out: int
    """The number of facts dropped for lack of room."""
    shortened: int
    """The number of facts reduced to their beginning and end."""
    masked: tuple[str, ...]
    """The kinds of secrets that were masked, with their counts."""
    notes: tuple[str, ...] = ()
    """Notes on what is missing or was repaired in the transcript."""

    @property
    def tokens(self) -> int:
        """The estimated tokens of all pieces; never more than the budget."""
        return sum(piece.tokens for piece in self.pieces)

    def as_json(self) -> dict[str, Any]:
        """Return the context as JSON values: its pieces, its size, and what was left out."""
        return {
            "session_id": self.session_id,
            "tokens": self.tokens,
            "budget_tokens": self.budget_tokens,
            "pieces": [piece.as_json() for piece in self.pieces],
            "left_out": self.left_out,
            "shortened": self.shortened,
            "masked": list(self.masked),
            "notes": list(self.notes),
        }


def build_context(
    transcript: Transcript,
    history: Sequence[TranscriptRow],
    session_id: str,
    budget_tokens: int,
    notes: tuple[str, ...] = (),
) -> SessionContext:
    """Extract the facts, mask secrets, and fit the result to the budget.

    Tokens are estimated for the tokenizer that needs the most, since the model is not chosen yet.

    Args:
        transcript: the session's transcript; its lines are read again.
        history: the rows to draw from, in order.
        session_id: the session's id.
        budget_tokens: the most that all pieces together may take.
        notes: what is missing or was repaired in the transcript; copied to the result.

    Raises:
        SessionError: the history holds no conversation, or the file cannot be read.
    """
    wanted = [row for row in history if row.type in _ROW_TYPES and not row.is_api_error]
    if not any(row.type != "attachment" for row in wanted):
        raise SessionError(f"{transcript.path}:1: this transcript holds no conversation.")
    with gc_paused(), transcript.open_loader() as load:
        facts = extract_facts([row for row in wanted if _has_content(row)], load)
    # heavier facts first; of equal weight, the later one, which is more likely still true
    ranked = sorted(facts, key=lambda fact: (-fact.weight, -fact.line))
    masker = Masker()
    pieces: list[ContextPiece] = []
    room_tokens = budget_tokens
    # facts are chosen by what they seem to weigh, and counted once they are masked
    chosen = _fit_facts(ranked, budget_tokens)
    for fact, limit_chars in chosen:
        text = _shorten(fact.text, limit_chars, masker)
        tokens = estimate_tokens(text) + 1 + _HEADING_TOKENS
        if tokens <= room_tokens:  # escaped characters may need more than was planned
            room_tokens -= tokens
            pieces.append(_build_piece(transcript, fact, text, tokens))
    return SessionContext(
        session_id=session_id,
        pieces=tuple(
            sorted(pieces, key=lambda one: (_KIND_ORDER.index(one.kind), one.source_line))
        ),
        budget_tokens=budget_tokens,
        left_out=len(facts) - len(pieces),
        shortened=sum(limit_chars < len(fact.text) for fact, limit_chars in chosen),
        masked=masker.summary_lines(),
        notes=notes,
    )


def _has_content(row: TranscriptRow) -> bool:
    """Return whether a row may hold facts; thinking and most of the client's attachments do not."""
    if row.type == "attachment":
        return row.subtype in ("queued_command", "file", "task_reminder", "todo_reminder")
    return row.has_text or bool(row.tool_calls) or bool(row.tool_results)


def _fit_facts(ranked: Sequence[Fact], room_tokens: float) -> list[tuple[Fact, int]]:
    """Choose facts, and how many characters of each to keep.

    First as many facts as possible are taken, shortened, the heavier ones first. The room left
    then extends them to full length in the same order.
    """
    chosen: list[tuple[Fact, int, float]] = []
    # a protected fact may be long, but must not crowd out all others
    largest_tokens = room_tokens / 3
    for fact in ranked:
        length = len(fact.text)
        density = _tokens_per_char(fact.text)
        limit = int(largest_tokens / density) if fact.is_protected else _SHORTENED_CHARS
        wanted = min(length, limit)
        cost = wanted * density + 1 + _HEADING_TOKENS
        if cost <= room_tokens:
            room_tokens -= cost
            chosen.append((fact, wanted, density))
    fitted: list[tuple[Fact, int]] = []
    for fact, given, density in chosen:
        more = min(len(fact.text) - given, int(room_tokens / density))
        room_tokens -= more * density
        fitted.append((fact, given + more))
    return fitted


def _tokens_per_char(text: str) -> float:
    sample = text[:_SAMPLE_CHARS]
    return (estimate_tokens(sample) + 1) / max(len(sample), 1)


def _shorten(text: str, limit_chars: int, masker: Masker) -> str:
    """Mask, then shorten to beginning and end: masking after the cut would miss half a key."""
    missing = len(text) - limit_chars
    if missing <= 0:
        return escape_invisible(masker.mask(text))
    # A secret that crosses a cut is only recognized whole, so each side is masked with an overlap
    # of _MAX_SECRET_CHARS. Private keys are longer than that: such a text is masked in one piece.
    is_short = missing <= 2 * _MAX_SECRET_CHARS or limit_chars < 2 * _ELLIPSIS_CHARS
    if is_short or "PRIVATE KEY-----" in text:
        return escape_invisible(masker.mask(text))[:limit_chars]
    keep = limit_chars - _ELLIPSIS_CHARS
    head, tail = keep * 3 // 5, keep - keep * 3 // 5
    start = escape_invisible(masker.mask(text[: head + _MAX_SECRET_CHARS]))[:-_MAX_SECRET_CHARS][
        :head
    ]
    end = escape_invisible(masker.mask(text[-tail - _MAX_SECRET_CHARS :]))[_MAX_SECRET_CHARS:][
        -tail:
    ]
    return f"{start}\n[… {missing + _ELLIPSIS_CHARS} characters left out …]\n{end}"


def _build_piece(transcript: Transcript, fact: Fact, text: str, tokens: int) -> ContextPiece:
    return ContextPiece(
        kind=fact.kind,
        text=text,
        source_path=str(transcript.path),
        source_line=fact.line,
        tokens=tokens,
    )
