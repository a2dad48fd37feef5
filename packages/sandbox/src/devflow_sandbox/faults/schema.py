"""The form of a fault script: when a fault applies, and what it does. One class for each kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, model_validator

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=1, le=2**40)]


class _FaultScriptForm(BaseModel):
    """No field is guessed: one that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FaultCondition(_FaultScriptForm):
    """Which requests a fault applies to: all that is given must hold, the rest does not matter."""

    path: str | None = None
    """A pattern with `*` for the path below `/api/v1`, like `/chat/*`."""
    method: str | None = None
    model: str | None = None
    """A pattern with `*` for the model that would answer, or the one that was asked for."""
    provider: str | None = None
    """A provider's slug or name. The fault is then that provider's: others are tried."""
    key: str | None = None
    """A key's name, hash or secret."""
    stream: bool | None = None
    nth: Count | list[Count] | None = None
    """Only the n-th of the requests that fit all of the above, from 1."""
    first: Count | None = None
    """From the n-th on."""
    every: Count | None = None
    """Every n-th."""
    times: Count | None = None
    """At most so often."""
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    """By a draw that depends on the seed and on the number of the request alone."""


class BodyPosition(_FaultScriptForm):
    """A place in the body: after so many bytes, after so many events, or after that share."""

    byte: Annotated[int, Field(ge=0)] | None = None
    event: Annotated[int, Field(ge=0)] | None = None
    share: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _require_one(self) -> BodyPosition:
        if sum(one is not None for one in (self.byte, self.event, self.share)) != 1:
            raise ValueError("give one of byte, event, share")
        return self


HALF = BodyPosition(share=0.5)

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
    """An error instead of a reply (U12 to U15). Providers and models that are left are tried."""

    kind: Literal["status"]
    status: Annotated[int, Field(ge=200, le=599)] = 500
    preset: ErrorPreset | None = None
    """One of OpenRouter's own errors word for word; the status is then its."""
    message: str | None = None
    error_type: str | None = None
    metadata: dict[str, JsonValue] | None = None
    retry_after: str | None = None
    """The header's text as it is, right or wrong."""
    retry_after_date_s: float | None = None
    """A date so many seconds from now in its place; one that is past when negative."""
    reset_s: float | None = None
    """`X-RateLimit-Reset` so many seconds from now, in milliseconds of Unix time."""
    reset_in: Literal["header", "metadata"] = "header"
    """Where it is told: as a header of the reply, or in `metadata.headers` of the error."""
    headers: dict[str, str] = {}


class RedirectFault(_FaultScriptForm):
    """Send the client elsewhere (U19)."""

    kind: Literal["redirect"]
    location: str = "http://169.254.169.254/latest/meta-data/"
    status: Literal[301, 302, 303, 307, 308] = 307


class RefuseFault(_FaultScriptForm):
    """Stop listening (U01): this request is reset and new connections are refused for a while."""

    kind: Literal["refuse"]
    for_s: Seconds = 1.0


class StaleFault(_FaultScriptForm):
    """Answer, then reset the connection when it is used again (U02)."""

    kind: Literal["stale"]


class DropFault(_FaultScriptForm):
    """End the connection: before the head (`at` null, U02) or in the body (U05)."""

    kind: Literal["drop"]
    at: BodyPosition | None = None
    how: Literal["reset", "close"] = "reset"


class SlowFault(_FaultScriptForm):
    """Slow but alive (U03, U04)."""

    kind: Literal["slow"]
    head_s: Seconds = 0.0
    """Before the first byte of the head."""
    dribble_s: Seconds | None = None
    """Between the bytes of the head."""
    ttft_s: Seconds = 0.0
    """Between the head and the body."""
    gap_s: Seconds = 0.0
    """Before every event."""


class StallFault(_FaultScriptForm):
    """Silence in the middle, or nothing but comments (U04)."""

    kind: Literal["stall"]
    at: BodyPosition = HALF
    for_s: Seconds | None = None
    """None: for ever."""
    comment_every_s: Seconds | None = None
    """None: no comments either."""


class TruncateFault(_FaultScriptForm):
    """A body that ends too soon and says so nowhere (U05, U06)."""

    kind: Literal["truncate"]
    at: BodyPosition = HALF
    framing: Literal["chunked", "close", "length", "gzip"] = "chunked"
    """How the end is marked: by the last chunk, by the end of the connection, not at all because
    `Content-Length` promises more, or inside a gzip stream."""


class OmitFault(_FaultScriptForm):
    """Leave out a part of the reply (U07, U09)."""

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
    done: bool = False
    """Send `[DONE]` after it."""


class BadUsageFault(_FaultScriptForm):
    """Other numbers in `usage`, as JSON text: `NaN`, `-5`, `1e308` (U11)."""

    kind: Literal["usage"]
    values: dict[str, str]


class BodyFault(_FaultScriptForm):
    """Another body (U10)."""

    kind: Literal["body"]
    preset: Literal["malformed", "html", "empty", "choices_null", "choices_empty"] | None = None
    text: str = ""
    content_type: str = "application/json"
    status: Annotated[int, Field(ge=200, le=599)] = 200


class FloodFault(_FaultScriptForm):
    """Too much of it (U16)."""

    kind: Literal["flood"]
    what: Literal["body", "line", "gzip", "header", "headers"] = "body"
    size: Size = 256 * 1024 * 1024
    """Bytes; for `headers` their number."""


class FramingFault(_FaultScriptForm):
    """The same events, cut and framed in other ways (U17)."""

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
    """Indexes that lie; every character a piece; an id of its own in every piece; the arguments as
    one object instead of text."""


class EarlyUsageFault(_FaultScriptForm):
    """Usage before the last event as well, as some providers send it; without a cost."""

    kind: Literal["early_usage"]
    form: Literal["finish", "each"] = "finish"
    """Beside the finish reason, or in every event."""


class RawFault(_FaultScriptForm):
    """Bytes instead of HTTP, or HTTP that must not be understood (U20)."""

    kind: Literal["raw"]
    preset: Literal["cl_te", "bad_chunk", "header_injection", "status_999", "ssh_banner"] | None = (
        None
    )
    text: str = ""
    """Sent as it is, in latin-1."""


class EndlessFault(_FaultScriptForm):
    """A stream without an end (U21)."""

    kind: Literal["endless"]
    gap_s: Seconds = 0.0


class BillingFault(_FaultScriptForm):
    """Nothing but another rule for what a cancelled call costs (U22)."""

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
    """One rule."""

    id: str | None = None
    """A name for the bill's column `fault`; without one its number in the script."""
    when: FaultCondition = FaultCondition()
    then: FaultAction
    billed: Literal["provider", "full", "fees", "none"] = "provider"
    """What a reply costs that did not end well: as its provider does it, all of it, the services
    that ran beside it alone, or nothing. A `status` fault costs nothing unless this is `fees`: then
    what ran before the model was asked is billed, a search or the pages of a PDF."""


class FaultScript(_FaultScriptForm):
    """A fault script. The first rule that is due is applied; the others count the request too."""

    faults: list[Fault] = []


FAULT_SCRIPT: TypeAdapter[FaultScript] = TypeAdapter(FaultScript)


def json_schema() -> dict[str, Any]:
    """The form as a JSON schema, for editors and for `GET /sandbox/faults/schema`."""
    return FAULT_SCRIPT.json_schema()
