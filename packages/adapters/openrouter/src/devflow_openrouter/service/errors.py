"""Defines the errors of the service object, and makes them of the gateway's.

An application needs to know few things of a failure: which status to answer, what to show to the
person, and when another try may help. The gateway's own error is the cause (`__cause__`).
"""

from __future__ import annotations

from devflow_core.errors import (
    AllCandidatesFailed,
    BudgetExceeded,
    ConfigurationError,
    ContextTooLong,
    DevFlowError,
    InvalidRequest,
    NoCandidate,
    PayloadTooLarge,
    RateLimited,
    StructuredOutputInvalid,
    UnknownModel,
    UpstreamError,
    UpstreamTimeout,
)

from devflow_openrouter.service import user_messages
from devflow_openrouter.service.user_messages import Language, Sentence, find_language

_OURS = (InvalidRequest, ContextTooLong, PayloadTooLarge, BudgetExceeded, NoCandidate, UnknownModel)
"""Refusals that the gateway makes itself, before anything is sent; OpenRouter makes some, too."""


class OpenRouterServiceError(DevFlowError):
    """The root of what the service object raises; `str()` is for the log, in English.

    `status_hint` is the status that an application may answer, `status` the one that OpenRouter
    sent (None if it sent none), `retry_after_s` the seconds after which another try may help (None
    if unknown). `user_message` is for the person.
    """

    code = "openrouter_error"
    status: int | None = None
    sentence: Sentence = user_messages.UNAVAILABLE
    """What a person is shown, in every language."""
    language: Language = "en"
    """The language of `user_message`; the service sets it from its options."""

    @property
    def user_message(self) -> str:
        """A sentence for the person, in the language of the service's options."""
        return self.sentence[self.language]

    def user_message_in(self, language: str) -> str:
        """Return a sentence for the person.

        Args:
            language: `en`, `pl` or `it`, or an `Accept-Language` header; others get English.
        """
        return self.sentence[find_language(language)]


class OpenRouterConfigError(OpenRouterServiceError, ConfigurationError):
    """The service cannot work as it was built or used: no key, or a value that is not allowed."""

    code = "configuration_error"
    sentence = user_messages.CONFIG


class OpenRouterSchemaError(OpenRouterServiceError, StructuredOutputInvalid):
    """The reply does not match the requested format; `reply` is its text, `violations` say where.

    It was paid for, and is in the ledger.
    """

    code = "structured_output_invalid"
    status_hint = 502
    sentence = user_messages.SCHEMA


class OpenRouterTimeoutError(OpenRouterServiceError):
    """The last attempt was not answered in time, or not to its end."""

    code = "upstream_timeout"
    status_hint = 504
    sentence = user_messages.TIMEOUT


class OpenRouterRateLimitError(OpenRouterServiceError):
    """The last attempt met a rate limit (429); try again after `retry_after_s`."""

    code = "rate_limited"
    status_hint = 503
    sentence = user_messages.BUSY


class OpenRouterRejectedError(OpenRouterServiceError):
    """OpenRouter, or the gateway before it, refuses the request; `status_hint` is its status.

    401 and 403: the key or a policy; 402: the account or a budget has not enough left; other 4xx:
    the request itself, or its model.
    """

    code = "upstream_rejected"
    status_hint = 400
    sentence = user_messages.REJECTED


class OpenRouterUnavailableError(OpenRouterServiceError):
    """OpenRouter failed, could not be reached or broke its reply off; or the gateway failed."""

    code = "upstream_unavailable"
    status_hint = 502
    sentence = user_messages.UNAVAILABLE


class OpenRouterPromptRefused(OpenRouterServiceError):
    """The guard has refused a prompt; nothing was sent. `findings` name the rules that matched."""

    code = "prompt_refused"
    status_hint = 422
    sentence = user_messages.GUARDED

    def __init__(self, findings: tuple[str, ...]) -> None:
        super().__init__(
            f"The guard refused the prompt ({', '.join(findings)}). Rephrase it, or set the "
            "guard's mode to warn."
        )
        self.findings = findings


def to_service_error(error: DevFlowError, language: Language) -> OpenRouterServiceError:
    """Return the service's error for the gateway's, which the caller makes its cause.

    Of the errors of several candidates, the last one counts.
    """
    if isinstance(error, AllCandidatesFailed) and error.errors:
        error = error.errors[-1]  # an application can answer only one status
    if isinstance(error, OpenRouterServiceError):
        made = error
    elif isinstance(error, StructuredOutputInvalid):
        made = OpenRouterSchemaError(
            error.message, reply=error.reply, violations=error.violations, model=error.model
        )
    else:
        kind = _kind_of(error)
        made = kind(error.message, retry_after_s=error.retry_after_s, model=error.model)
        made.status = error.status if isinstance(error, UpstreamError) else None
        if isinstance(made, OpenRouterRejectedError):
            made.status_hint = made.status or error.status_hint
            made.sentence = _rejection_for(made.status_hint, error)
        elif isinstance(made, OpenRouterUnavailableError):
            made.status_hint = 503 if error.status_hint == 503 else 502
        if not isinstance(made, OpenRouterTimeoutError | OpenRouterRateLimitError):
            made.code = error.code
    made.attempts = error.attempts
    made.language = language
    return made


def _kind_of(error: DevFlowError) -> type[OpenRouterServiceError]:
    if isinstance(error, ConfigurationError):
        return OpenRouterConfigError
    if isinstance(error, UpstreamTimeout):
        return OpenRouterTimeoutError
    if isinstance(error, RateLimited):
        return OpenRouterRateLimitError
    status = error.status if isinstance(error, UpstreamError) else None
    if isinstance(error, _OURS) or (status is not None and 400 <= status < 500):
        return OpenRouterRejectedError
    return OpenRouterUnavailableError


def _rejection_for(status: int, error: DevFlowError) -> Sentence:
    if status in (401, 403):
        return user_messages.ACCESS
    if status == 402:
        return user_messages.CREDIT
    if status == 413 or isinstance(error, ContextTooLong):
        return user_messages.TOO_LONG
    return user_messages.REJECTED
