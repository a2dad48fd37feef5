"""Answers `/keys` for management keys, and creates keys for programs by OAuth with PKCE."""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from devflow_sandbox.api_error import ApiError, invalid_request
from devflow_sandbox.books.accounts import Key
from devflow_sandbox.endpoints.account import format_timestamp, usage_fields
from devflow_sandbox.message import CORS, Answer, JsonObject, SandboxRequest, json_answer
from devflow_sandbox.parsed_request import BodyReader, parse_body
from devflow_sandbox.sandbox_state import Grant, SandboxState

CODE_LIFE_S = 600.0
"""Seconds within which an authorization code can be used, once."""
_PAGE_SIZE = 100
"""The most keys that one answer of `GET /keys` lists; `offset` continues."""
_PERIODS = (None, "daily", "weekly", "monthly")


@dataclass(frozen=True, slots=True)
class _KeyUpdate:
    """The fields of a key that a request body may change."""

    body: BodyReader

    def apply(self, key: Key) -> None:
        fields = self.body.body
        if "name" in fields:
            key.name = self.body.text("name") or key.name
        if "disabled" in fields:
            key.disabled = self.body.flag("disabled")
        if "include_byok_in_limit" in fields:
            key.include_byok_in_limit = self.body.flag("include_byok_in_limit")
        if "limit" in fields:
            limit = self.body.number("limit", 0, 10**9)
            key.limit_usd = None if limit is None else Decimal(str(fields["limit"]))
        if "limit_reset" in fields:
            key.limit_reset = _parse_period(self.body)
        if "expires_at" in fields:
            key.expires_s = _parse_expiry(self.body)


def _parse_period(body: BodyReader) -> str | None:
    period = body.text("limit_reset")
    if period not in _PERIODS:
        raise invalid_request("Invalid input: limit_reset: expected 'daily', 'weekly' or 'monthly'")
    return period


def _parse_expiry(body: BodyReader) -> float | None:
    text = body.text("expires_at")
    if text is None:
        return None
    try:
        expiry = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid_request(
            "Invalid input: expires_at: expected an ISO 8601 timestamp"
        ) from error
    if expiry.tzinfo is None or expiry.utcoffset() != UTC.utcoffset(None):
        raise invalid_request("Invalid input: expires_at: expected UTC")
    return expiry.timestamp()


def _format_key(key: Key, now_s: float) -> JsonObject:
    return usage_fields(key, now_s) | {
        "hash": key.hash,
        "name": key.name,
        "label": key.label,
        "disabled": key.disabled,
        "created_at": format_timestamp(key.created_s),
        "updated_at": format_timestamp(key.updated_s),
        "last_used_at": format_timestamp(key.last_used_s),
        "external_user": None,
    }


def _find_own_key(state: SandboxState, request: SandboxRequest) -> Key:
    """Return the key named in the path, if it belongs to the requesting account."""
    manager = state.accounts.authorise_management(request.headers, state.now_s())
    key = state.accounts.get_by_hash(request.path.rsplit("/", 1)[-1])
    if key.account is not manager.account or key.is_management:
        raise ApiError(404, "API key not found")
    return key


def list_keys(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /keys`: the account's inference keys; disabled ones only on request."""
    now_s = state.now_s()
    manager = state.accounts.authorise_management(request.headers, now_s)
    parameters = request.query_parameters()
    with_disabled = parameters.get("include_disabled", "").lower() == "true"
    offset = parameters.get("offset", "0")
    if not (offset.isascii() and offset.isdigit()):
        raise invalid_request("Invalid query parameter offset: expected a whole number")
    keys = [
        one
        for one in state.accounts.keys.values()
        if one.account is manager.account
        and not one.is_management
        and (with_disabled or not one.disabled)
    ]
    page = keys[int(offset) : int(offset) + _PAGE_SIZE]
    return json_answer({"data": [_format_key(one, now_s) for one in page]})


def create_key(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /keys`, the only answer that shows the key itself."""
    manager = state.accounts.authorise_management(request.headers, state.now_s())
    body = BodyReader(parse_body(request.body))
    name = body.text("name")
    if not name:
        raise invalid_request("Invalid input: name: expected string, received undefined")
    key = state.add_key(name, account=manager.account)
    try:
        _KeyUpdate(body).apply(key)
    except ApiError:
        del state.accounts.keys[key.secret]
        raise
    return json_answer({"data": _format_key(key, state.now_s()), "key": key.secret}, 201)


def get_key(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /keys/{hash}`: one inference key of the account, without its secret."""
    return json_answer({"data": _format_key(_find_own_key(state, request), state.now_s())})


def update_key(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `PATCH /keys/{hash}`: change the fields that the body has."""
    key = _find_own_key(state, request)
    _KeyUpdate(BodyReader(parse_body(request.body))).apply(key)
    key.updated_s = state.now_s()
    return json_answer({"data": _format_key(key, state.now_s())})


def delete_key(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `DELETE /keys/{hash}`: the key is unknown from now on."""
    key = _find_own_key(state, request)
    del state.accounts.keys[key.secret]
    return json_answer({"deleted": True})


def show_consent(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `GET /auth`, the page that a browser is sent to; its button authorizes the program."""
    parameters = request.query_parameters()
    _parse_challenge(parameters)
    inputs = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in parameters.items()
    )
    target = html.escape(parameters.get("callback_url", "this page"))
    return _render_page(
        f"<p>A program at <b>{target}</b> asks for a key on the sandbox account.</p>"
        f'<form method="post" action="/auth">{inputs}<button>Authorize</button></form>'
    )


def grant_code(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /auth`, the button: redirect to the program with a code, or show the code."""
    form = {
        name: values[-1] for name, values in parse_qs(request.body.decode(errors="replace")).items()
    }
    challenge, method = _parse_challenge(form)
    code = f"auth_code_{state.new_id().rsplit('-', 1)[-1]}"
    state.grants[code] = Grant(challenge=challenge, method=method, at_s=state.now_s())
    callback = form.get("callback_url")
    if callback is None:
        return _render_page(f"<p>Your code:</p><pre>{code}</pre>")
    parts = urlsplit(callback)
    query = "&".join(part for part in (parts.query, urlencode({"code": code})) if part)
    location = urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment))
    return Answer(status=302, headers=[("Location", location)], steps=[], framing="length")


def _parse_challenge(parameters: dict[str, str]) -> tuple[str | None, str]:
    challenge = parameters.get("code_challenge")
    method = parameters.get("code_challenge_method", "plain")
    if method not in ("S256", "plain"):
        raise invalid_request("Invalid code_challenge_method")
    if "callback_url" not in parameters and challenge is None:
        raise invalid_request("code_challenge is required without callback_url")
    if not parameters.get("callback_url", "http://").startswith(("http://", "https://")):
        raise invalid_request("Invalid callback_url")
    return challenge, method


def _render_page(inner: str) -> Answer:
    text = f"<!doctype html><title>DevFlow sandbox</title><h1>DevFlow sandbox</h1>{inner}"
    headers = [("Content-Type", "text/html; charset=utf-8"), *CORS]
    return Answer(status=200, headers=headers, steps=[text.encode()], framing="length")


def exchange_code(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /auth/keys`: exchange a code and its verifier for a key of the default account.

    A wrong verifier uses the code up.
    """
    body = BodyReader(parse_body(request.body))
    method = body.text("code_challenge_method")
    if method not in (None, "S256", "plain"):
        raise invalid_request("Invalid code_challenge_method")
    # taken out before it is verified: a wrong verifier uses the code up
    grant = state.grants.pop(body.text("code") or "", None)
    if grant is None or state.now_s() - grant.at_s > CODE_LIFE_S:
        raise ApiError(403, "Invalid or expired code")
    if method is not None and method != grant.method:
        raise invalid_request("code_challenge_method does not match the authorization request")
    if not _is_verified(grant, body.text("code_verifier") or ""):
        raise ApiError(403, "Invalid code or code_verifier")
    key = state.add_key("oauth")
    return json_answer({"key": key.secret, "user_id": key.account.user_id})


def _is_verified(grant: Grant, verifier: str) -> bool:
    if grant.challenge is None:
        return True
    if grant.method == "plain":
        return verifier == grant.challenge
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == grant.challenge.rstrip("=")
