"""Defines the schema of fault scripts: when a fault applies, what it does; one class per kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=2**40)]


class _FaultScriptForm(BaseModel):
    """Rejects unknown fields instead of guessing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FaultCondition(_FaultScriptForm):
    """The requests a fault applies to: all given conditions must hold, absent ones are ignored."""

    path: str | None = None
    """A pattern with `*` for the path below `/api/v1`, such as `/chat/*`."""
    method: str | None = None
    """The method, in upper or lower case."""
    model: str | None = None
    """A pattern with `*` for the model that would answer, or for the requested one."""
    provider: str | None = None
    """A pattern with `*` for a provider's slug or name; other providers are then still tried."""
    key: str | None = None
    """A key's name, hash or secret."""
    stream: bool | None = None
    """Whether the reply is streamed; if given, only requests for replies match."""
    nth: Count | list[Count] | None = None
    """Restricts the fault to the n-th request that meets the conditions above, counted from 1.

    With it, `first` and `every` are ignored.
    """
    first: Count | None = None
    """Restricts the fault to the n-th such request and later ones."""
    every: Count | None = None
    """Restricts the fault to every n-th such request, counted from `first` if that is given."""
    times: Count | None = None
    """The most times that the fault applies."""
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The probability, by a draw that depends only on the seed and the number of the request."""


class BodyPosition(_FaultScriptForm):
    """A place in the body: after a number of bytes or events, or after a share of it."""

    byte: Annotated[int, Field(ge=0)] | None = None
    event: Annotated[int, Field(ge=0)] | None = None
    share: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _require_one(self) -> BodyPosition:
        if sum(one is not None for one in (self.byte, self.event, self.share)) != 1:
            raise ValueError("give one of byte, event, share")
        return self


HALF = BodyPosition(share=0.5)
"""The middle of the body."""

ErrorPreset = Literal[
    "no_credits",
    "not_affordable",
    "in_flight",
    "key_limit",
    "rate_limited",
    "free_daily",
    "free_per_minute",
    "moderated",
    "no_tool_endpoints",
    "context_too_long",
]


class StatusFault(_FaultScriptForm):
    """An error instead of a reply (U12 to U15).

    Other models are still tried and, if the rule names a provider, other providers; after 401 and
    402, neither.
    """

    kind: Literal["status"]
    status: Annotated[int, Field(ge=200, le=599)] = 500
    """The HTTP status; ignored with a preset, as are `message`, `error_type` and `metadata`."""
    preset: ErrorPreset | None = None
    """One of OpenRouter's own errors, word for word, with its status."""
    message: str | None = None
    error_type: str | None = None
    metadata: dict[str, JsonValue] | None = None
    retry_after: str | None = None
    """The header's text, sent as it is, valid or not."""
    retry_after_date_s: float | None = None
    """Sends a date this many seconds from now instead; negative for one in the past."""
    reset_s: float | None = None
    """Sends `X-RateLimit-Reset` this many seconds from now, in milliseconds of Unix time."""
    reset_in: Literal["header", "metadata"] = "header"
    """The place where it is sent: a header of the reply, or `metadata.headers` of the error."""
    headers: dict[str, str] = {}


class RedirectFault(_FaultScriptForm):
    """Redirects the client to another address (U19)."""

    kind: Literal["redirect"]
    location: str = "http://169.254.169.254/latest/meta-data/"
    status: Literal[301, 302, 303, 307, 308] = 307


class RefuseFault(_FaultScriptForm):
    """Stops listening (U01): resets this request, and refuses new connections for a while."""

    kind: Literal["refuse"]
    for_s: Seconds = 1.0
    """Seconds for which new connections are refused."""


class StaleFault(_FaultScriptForm):
    """Answers, then resets the connection when it is used again (U02)."""

    kind: Literal["stale"]


class DropFault(_FaultScriptForm):
    """Ends the connection: before the head (`at` null, U02) or in the body (U05)."""

    kind: Literal["drop"]
    at: BodyPosition | None = None
    how: Literal["reset", "close"] = "reset"


class SlowFault(_FaultScriptForm):
    """Delays the reply without breaking it off (U03, U04)."""

    kind: Literal["slow"]
    head_s: Seconds = 0.0
    """Seconds before the first byte of the head."""
    dribble_s: Seconds | None = None
    """Seconds between the bytes of the head; None: they are sent at once."""
    ttft_s: Seconds = 0.0
    """Seconds between the head and the body."""
    gap_s: Seconds = 0.0
    """Seconds before every event."""


class StallFault(_FaultScriptForm):
    """Silence in the middle, or only comments (U04)."""

    kind: Literal["stall"]
    at: BodyPosition = HALF
    for_s: Seconds | None = None
    """Seconds of silence; None: forever."""
    comment_every_s: Seconds | None = None
    """Seconds between comments; None: no comments either."""


class TruncateFault(_FaultScriptForm):
    """A body that ends too soon without an error (U05, U06)."""

    kind: Literal["truncate"]
    at: BodyPosition = HALF
    framing: Literal["chunked", "close", "length", "gzip"] = "chunked"
    """How the end is marked: `chunked` by the last chunk; `close` by the end of the connection;
    `length` not at all, since `Content-Length` promises more; `gzip` inside a gzip stream.
    """


class OmitFault(_FaultScriptForm):
    """Leaves out a part of the reply (U07, U09)."""

    kind: Literal["omit"]
    parts: list[Literal["done", "last_newline", "usage", "cost", "finish", "generation_id"]]


class ErrorEventFault(_FaultScriptForm):
    """An error inside a 200: as an event of a stream, or as the body (U08)."""

    kind: Literal["error_event"]
    at: BodyPosition = HALF
    code: int = 502
    message: str = "Provider returned error"
    error_type: str = "provider_unavailable"
    form: Literal["chunk", "no_finish", "string_code", "bare"] = "chunk"
    """On `/chat/completions`: a chunk with the finish reason `error`; without a finish reason; with
    a text as the code; or the error alone, without a chunk around it.
    """
    done: bool = False
    """Whether to send `[DONE]` after the error."""


class BadUsageFault(_FaultScriptForm):
    """Other values in `usage`, as JSON text: `NaN`, `-5`, `1e308` (U11)."""

    kind: Literal["usage"]
    values: dict[str, str]


class BodyFault(_FaultScriptForm):
    """A different body (U10)."""

    kind: Literal["body"]
    preset: Literal["malformed", "html", "empty", "choices_null", "choices_empty"] | None = None
    text: str = ""
    """The body, if there is no preset."""
    content_type: str = "application/json"
    status: Annotated[int, Field(ge=200, le=599)] = 200
    """The HTTP status; ignored by `choices_null` and `choices_empty`, which keep the rest."""


class FloodFault(_FaultScriptForm):
    """Far too much data (U16)."""

    kind: Literal["flood"]
    what: Literal["body", "line", "gzip", "header", "headers"] = "body"
    size: Size = 256 * 1024 * 1024
    """The size in bytes; for `headers`, their number."""


class FramingFault(_FaultScriptForm):
    """The same events, cut and framed differently (U17)."""

    kind: Literal["framing"]
    form: Literal[
        "bytewise",
        "split_crlf",
        "crlf",
        "cr_only",
        "bom",
        "no_space",
        "multi_line",
        "comments",
        "line_separator",
        "bad_utf8",
        "after_done",
        "event_names",
        "ids_and_retry",
    ]


class ToolIndexFault(_FaultScriptForm):
    """Tool calls whose pieces do not fit together (U18)."""

    kind: Literal["tool_index"]
    form: Literal["duplicate", "gap", "split", "ids", "object"]
    """Wrong indexes; every character in a separate piece; a new id in every piece; the arguments as
    an object instead of text.
    """


class EarlyUsageFault(_FaultScriptForm):
    """The usage in earlier events as well, as some providers send it; without a cost."""

    kind: Literal["early_usage"]
    form: Literal["finish", "each"] = "finish"
    """The events that report the usage: the one with the finish reason, or every one."""


class RawFault(_FaultScriptForm):
    """Bytes that are not HTTP, or HTTP that must be rejected (U20)."""

    kind: Literal["raw"]
    preset: Literal["cl_te", "bad_chunk", "header_injection", "status_999", "ssh_banner"] | None = (
        None
    )
    text: str = ""
    """The text that is sent as it is, encoded in latin-1."""


class EndlessFault(_FaultScriptForm):
    """A stream that never ends (U21)."""

    kind: Literal["endless"]
    gap_s: Seconds = 0.0


class BillingFault(_FaultScriptForm):
    """Changes only the cost of a cancelled call (U22)."""

    kind: Literal["billing"]


FaultAction = Annotated[
    StatusFault
    | RedirectFault
    | RefuseFault
    | StaleFault
    | DropFault
    | SlowFault
    | StallFault
    | TruncateFault
    | OmitFault
    | ErrorEventFault
    | BadUsageFault
    | BodyFault
    | FloodFault
    | FramingFault
    | ToolIndexFault
    | EarlyUsageFault
    | RawFault
    | EndlessFault
    | BillingFault,
    Field(discriminator="kind"),
]


class Fault(_FaultScriptForm):
    """One rule: when it applies, and what it does."""

    id: str | None = None
    """The name shown in the bill's column `fault`; by default the rule's number in the script."""
    when: FaultCondition = FaultCondition()
    then: FaultAction
    billed: Literal["provider", "full", "fees", "none"] = "provider"
    """What a reply with this fault costs: what its provider bills if it is cut; all of it; only the
    services that ran with it; or nothing. An `error_event` always costs the services, a `redirect`
    nothing; a client that leaves pays as with `provider`, unless this is `full`. A `status` fault
    costs nothing unless this is `fees`: then what ran before the model was called is billed, such
    as a search or the pages of a PDF.
    """


class FaultScript(_FaultScriptForm):
    """A fault script. The first rule that is due applies; the others still count the request."""

    faults: list[Fault] = []


FAULT_SCRIPT: TypeAdapter[FaultScript] = TypeAdapter(FaultScript)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of fault scripts, for editors and `GET /sandbox/faults/schema`."""
    return FAULT_SCRIPT.json_schema()
