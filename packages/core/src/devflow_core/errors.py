"""Defines every way a request can fail, as one tree.

    DevFlowError
    ├── RequestError            the caller's fault: most are not tried elsewhere
    │   ├── InvalidRequest          400  the request cannot be understood or carried out
    │   ├── ContextTooLong          400  more input than the model's window
    │   ├── PayloadTooLarge         413
    │   ├── Unauthorized            401  a missing or wrong client key of this gateway
    │   ├── Forbidden               403  a client key that does not permit this
    │   ├── NotFound                404
    │   ├── Conflict                409  a name or an idempotency key in use, or an unknown outcome
    │   ├── BudgetExceeded          402  a limit that the user has set
    │   │   └── UnknownPrice            402  the worst case is unknown, so it cannot be reserved
    │   └── SessionError            400  a transcript is missing, cut off or malformed
    ├── ConfigurationError          500  a setting is missing or wrong
    ├── RoutingError            no model can serve this
    │   ├── UnknownModel            404
    │   ├── NoCandidate             404  every model was left out, with the reasons
    │   └── AllCandidatesFailed     502  every candidate failed; their status if they share it
    ├── UpstreamError           the provider failed, or our connection to it
    │   ├── NotSent                 502  no byte of the request left: safe to repeat
    │   ├── PossiblyAccepted        502  it may have been accepted, no reply came
    │   ├── KeyRefused              401  this key is unknown or disabled; 402: over its limit
    │   ├── KeysExhausted           429  no key is left; 402: all are spent; 503: refused
    │   ├── PaymentRequired         402
    │   ├── Refused                 403  moderation, guardrail or data policy
    │   ├── UpstreamRejected        400  the provider rejects the request (412, 413, 422 too)
    │   ├── ModelUnavailable        404  no endpoint can take it
    │   ├── RateLimited             429
    │   │   ├── DailyQuotaExceeded      429  the free models' allowance of a day
    │   │   └── StillLimited            429  not asked: every key has recently met its limit
    │   ├── Overloaded              503
    │   ├── ProviderUnavailable     502
    │   ├── UpstreamTimeout         504  a deadline of ours has passed
    │   ├── ProtocolError           502  bytes that are not a reply
    │   ├── Incomplete              502  a reply that was cut off
    │   ├── ReplyTooLarge           502
    │   ├── StructuredOutputInvalid 502  complete, but does not match the schema
    │   └── CircuitOpen             503  not asked, because the model has been failing
    ├── QueueFull                   503  too many requests wait here, or one waited too long
    ├── MachineExhausted            503  no descriptor, port or memory is left here
    └── StoreError                  503  the ledger cannot be written or read
        └── LedgerCorrupt           503

Each class sets `status_hint` for the server and `disposition` for the policies.
"""

from __future__ import annotations

from typing import Any, ClassVar

from devflow_core.masking import mask
from devflow_core.statuses import Disposition, client_status


class DevFlowError(Exception):
    """The root of the tree; `str()` says what happened, to which model, and what to do.

    `message` holds no text of a conversation and no key. After `retry_after_s` seconds another try
    may help, and `model` is the model concerned; each of the two is None if unknown.
    """

    code: str = "internal_error"
    status_hint: int = 500
    disposition: ClassVar[Disposition] = Disposition.FAIL
    attempts: int = 0
    """Calls that were made for the request; after two or more, the gateway itself gave up."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, model: str | None = None
    ) -> None:
        message = mask(message)  # wherever the text came from, it may be shown anywhere
        super().__init__(message)
        self.message, self.model, self.retry_after_s = message, model, retry_after_s


class RequestError(DevFlowError):
    """The caller's fault; unless a subclass differs, another model would fail in the same way."""

    code = "invalid_request"
    status_hint = 400


class InvalidRequest(RequestError):
    """The request cannot be understood or carried out."""


class ContextTooLong(RequestError):
    """The input is longer than the model's window; a larger model may still take it."""

    code = "context_length_exceeded"
    disposition = Disposition.FALL_BACK


class PayloadTooLarge(RequestError):
    """The body is over the limit of this gateway or of the provider."""

    code = "payload_too_large"
    status_hint = 413


class Unauthorized(RequestError):
    """The client key of this gateway is missing or wrong."""

    code = "unauthorized"
    status_hint = 401


class Forbidden(RequestError):
    """The client key is valid but does not permit this."""

    code = "forbidden"
    status_hint = 403


class NotFound(RequestError):
    """Nothing has the requested name: no route, model, budget, client key or entry."""

    code = "not_found"
    status_hint = 404


class Conflict(RequestError):
    """A name is taken, or an idempotency key is in use for another body or of unknown outcome."""

    code = "idempotency_conflict"
    status_hint = 409


class BudgetExceeded(RequestError):
    """The request would exceed a limit that the user has set; the command line exits with 4."""

    code = "budget_exceeded"
    status_hint = 402
    disposition = Disposition.FALL_BACK  # another candidate's worst case may be smaller


class UnknownPrice(BudgetExceeded):
    """The price is unknown, so the worst case cannot be reserved."""

    code = "unknown_price"


class SessionError(RequestError):
    """A transcript is missing, empty, cut off or malformed; the message names file and line."""

    code = "session_error"


class ConfigurationError(DevFlowError):
    """A setting is missing or wrong; the command line exits with 3."""

    code = "configuration_error"


class RoutingError(DevFlowError):
    """No model can serve this request."""

    code = "no_candidate"
    status_hint = 404


class UnknownModel(RoutingError):
    """The catalogue has no such model, and no alias of this name is set."""

    code = "model_not_found"


class NoCandidate(RoutingError):
    """Every model was excluded; the message gives the most common reasons."""


class UpstreamError(DevFlowError):
    """The provider failed, or our connection to it.

    `status` is the HTTP status or the code inside the body, `error_type` the provider's name for
    the kind, `provider` who ran the model, `generation_id` the id that its cost is looked up by,
    `detail` the provider's own words (a masked line of at most 200 characters); None is unknown.
    """

    code = "upstream_error"
    status_hint = 502
    disposition = Disposition.RETRY
    is_unbilled: bool = False
    """Whether the provider reported it, or redirected: unless a reply had begun, none was made."""

    def __init__(  # noqa: PLR0913 - what is known of a failure is one flat record
        self,
        message: str,
        *,
        status: int | None = None,
        error_type: str | None = None,
        provider: str | None = None,
        generation_id: str | None = None,
        retry_after_s: float | None = None,
        model: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, model=model)
        self.status, self.detail = status, detail
        self.error_type, self.provider, self.generation_id = error_type, provider, generation_id
        self.status_hint = client_status(type(self).__name__, status, self.status_hint)


class NotSent(UpstreamError):
    """No byte of the request has left this machine, so repeating it cannot cost twice."""

    code = "upstream_unreachable"


class PossiblyAccepted(UpstreamError):
    """The request was sent and the connection ended without a reply; it may be billed."""

    code = "upstream_disconnected"


class KeyRefused(UpstreamError):
    """This provider key is unknown, disabled (401) or over its own limit (402)."""

    code = "upstream_key_refused"
    status_hint = 401
    disposition = Disposition.FAIL


class KeysExhausted(UpstreamError):
    """No provider key of the gateway is usable: throttled (429), spent (402) or refused (503)."""

    code = "upstream_keys_rest"
    status_hint = 429
    disposition = Disposition.FAIL

    def __init__(self, message: str, *, status: int | None = None, **known: Any) -> None:
        super().__init__(message, status=status, **known)
        if self.status_hint != 429:  # waiting does not help: the operator of the gateway has to act
            self.code = "OPENROUTER_SYSTEM_KEY_EXHAUSTED"


class PaymentRequired(UpstreamError):
    """The provider account cannot pay for this request."""

    code = "upstream_payment_required"
    status_hint = 402
    disposition = Disposition.FAIL


class Refused(UpstreamError):
    """Moderation, a guardrail or the data policy refused the request."""

    code = "upstream_refused"
    status_hint = 403
    disposition = Disposition.FAIL


class UpstreamRejected(UpstreamError):
    """The provider rejects the request as malformed; repeating it would fail in the same way."""

    code = "upstream_rejected"
    status_hint = 400
    disposition = Disposition.FAIL


class ModelUnavailable(UpstreamError):
    """No endpoint of this model can take the request (tools, data policy, or the model is gone)."""

    code = "upstream_model_unavailable"
    status_hint = 404
    disposition = Disposition.FALL_BACK


class RateLimited(UpstreamError):
    """Too many requests: for a key, for the free tier, or for the provider's shared pool."""

    code = "rate_limited"
    status_hint = 429
    limit_per_min: int | None = None
    """The limit that was reached, in requests per minute, if the provider reported it."""


class DailyQuotaExceeded(RateLimited):
    """The account's daily allowance for free models is used up; another key does not help."""

    disposition = Disposition.FALL_BACK


class StillLimited(RateLimited):
    """The call was not made: every key is cooling down for this model; another may be asked."""

    code = "still_limited"
    disposition = Disposition.FALL_BACK


class Overloaded(UpstreamError):
    """The provider is over capacity."""

    code = "upstream_overloaded"
    status_hint = 503


class ProviderUnavailable(UpstreamError):
    """The provider reported a failure of its own."""

    code = "upstream_unavailable"


class UpstreamTimeout(UpstreamError):
    """One of our deadlines passed: for connecting, the first token, progress or the total."""

    code = "upstream_timeout"
    status_hint = 504


class ProtocolError(UpstreamError):
    """The bytes are not a reply: HTML, broken JSON, impossible numbers."""

    code = "upstream_protocol_error"


class Incomplete(UpstreamError):
    """The reply was cut off: it has no finish reason or no terminal event."""

    code = "upstream_incomplete"


class ReplyTooLarge(UpstreamError):
    """The reply is larger than our limit."""

    code = "upstream_reply_too_large"
    disposition = Disposition.FAIL


class StructuredOutputInvalid(UpstreamError):
    """The reply is complete but does not match the requested schema.

    `reply` is the text that came, `violations` one line each with the path in the reply.
    """

    code = "structured_output_invalid"
    disposition = Disposition.FALL_BACK

    def __init__(
        self, message: str, *, reply: str, violations: tuple[str, ...], model: str | None = None
    ) -> None:
        super().__init__(message, model=model)
        self.reply, self.violations = reply, violations


class CircuitOpen(UpstreamError):
    """The call was not made: its (key, provider, model) has been failing, so calls are shed."""

    code = "circuit_open"
    status_hint = 503
    disposition = Disposition.FALL_BACK


class QueueFull(DevFlowError):
    """Too many requests wait here, one waited until its deadline, or the gateway is ending."""

    code = "queue_full"
    status_hint = 503


class MachineExhausted(DevFlowError):
    """This machine has run out of a resource; the error says nothing about the provider."""

    code = "machine_exhausted"
    status_hint = 503


class StoreError(DevFlowError):
    """The ledger cannot be written or read; no paid request starts without it."""

    code = "store_unavailable"
    status_hint = 503
    state: str | None = None
    """The state of the ledger, in the words of `/readyz`; None if the error is about no state."""


class LedgerCorrupt(StoreError):
    """The ledger's file is damaged; it is kept, and the message says how to recover."""

    code = "ledger_corrupt"


class AllCandidatesFailed(RoutingError):
    """Several candidates failed, and none is left; `errors` holds theirs, in the order tried."""

    code = "all_candidates_failed"
    status_hint = 502

    def __init__(self, errors: tuple[DevFlowError, ...]) -> None:
        tried = "; ".join(f"{error.model or 'unknown model'}: {error.message}" for error in errors)
        waits = [error.retry_after_s for error in errors if error.retry_after_s is not None]
        super().__init__(
            f"All {len(errors)} candidates failed. {tried}",
            retry_after_s=min(waits) if waits else None,
            model=errors[-1].model if errors else None,
        )
        self.errors = errors
        if len({error.status_hint for error in errors}) == 1:  # all failed alike
            self.status_hint = errors[0].status_hint
