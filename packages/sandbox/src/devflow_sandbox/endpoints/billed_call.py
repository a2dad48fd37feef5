"""Checks key, model and balance for calls that are not conversations, and bills them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any, cast

from devflow_sandbox.api_error import ApiError, invalid_request, no_credits, no_endpoints
from devflow_sandbox.books.accounts import Key
from devflow_sandbox.books.billing_book import BilledCall
from devflow_sandbox.catalogue.billing import BilledTokens, Charge
from devflow_sandbox.catalogue.models import Model
from devflow_sandbox.message import Answer, JsonObject, SandboxRequest
from devflow_sandbox.parsed_request import BodyReader, parse_body
from devflow_sandbox.sandbox_state import SandboxState

_CHARACTERS_PER_TOKEN = 4
"""The characters that count as one token, as in `Block.tokens`."""


@dataclass(slots=True)
class EndpointJob:
    """One call that is not a conversation: its key, model, body and billing record."""

    state: SandboxState
    request: SandboxRequest
    call: BilledCall
    key: Key
    model: Model
    body: BodyReader

    def charge_tokens(self, kind: str, tokens: BilledTokens) -> tuple[str, Charge]:
        """Charge the tokens and complete the call; return its generation id and the charge.

        The id begins with `gen-` and `kind`.
        """
        now_s = self.state.now_s()
        charge = self.model.prices.charge(tokens, now_s)
        generation_id = self.state.new_id(f"gen-{kind}")
        self.state.billing.assign_id(self.call, generation_id)
        self.call.served_model, self.call.provider = self.model.id, self.model.providers[0].name
        self.call.tokens, self.call.charge = tokens, charge
        self.call.outcome, self.call.ended_s = "completed", now_s
        self.key.pay(charge, now_s)
        return generation_id, charge


def run_job(
    state: SandboxState,
    request: SandboxRequest,
    modality: str,
    work: Callable[[EndpointJob], Answer],
) -> Answer:
    """Open a billing record, check key, model and balance, and return what `work` answers.

    Args:
        state: the sandbox.
        request: with a body of JSON, or a form.
        modality: what the model has to be able to produce.
        work: called once all checks have passed; charges the tokens itself.

    Raises:
        ApiError: one of the checks or the work failed; the call is then booked as refused.
    """
    call = state.billing.open_call(state.now_s(), request.path, None)
    try:
        call.key = key = state.accounts.authorise_spending(request.headers, state.now_s())
        body = BodyReader(_parse_fields(request))
        call.model = body.text("model")
        model = state.catalogue.resolve(call.model or "").model
        if not model.can_output(modality):
            raise no_endpoints(model.id, f"that support output modality: {modality}")
        if key.account.balance_usd <= 0:
            raise no_credits()
        return work(EndpointJob(state, request, call, key, model, body))
    except ApiError as error:
        call.outcome, call.status, call.ended_s = "refused", error.status, state.now_s()
        raise


def _parse_fields(request: SandboxRequest) -> JsonObject:
    """Return the body's JSON, or the fields of a form."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return parse_body(request.body)
    form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body)
    if not form.is_multipart():
        raise invalid_request("Invalid form data in request body")
    fields: JsonObject = {}
    for part in cast("list[Any]", form.get_payload()):
        name = part.get_param("name", header="content-disposition")
        content = cast(bytes, part.get_payload(decode=True))
        fields[str(name)] = content if name == "file" else content.decode(errors="replace")
    return fields


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text at four characters each, at least 1."""
    return max(1, (len(text) + 3) // _CHARACTERS_PER_TOKEN)
