"""A chat backend with Flask: plain views, and the synchronous service object.

OPENROUTER_API_KEY=… gunicorn -k uvicorn.workers.UvicornWorker app.main:app -b 127.0.0.1:8000
"""

import os
from typing import Any

from a2wsgi import WSGIMiddleware
from devflow_gateway import OpenRouterServiceError, SyncOpenRouterService
from flask import Flask, Response, jsonify, request

from app.protection import COOKIE, RateLimit, is_forged, new_token

MAX_BODY_BYTES = 256 * 1024
THREADS = 32
ALLOWED = {"model", "temperature", "max_tokens", "top_p", "stop"}
"""The fields of the API that a page may set."""

# without a key the worker does not even start
service = SyncOpenRouterService(
    os.environ.get("OPENROUTER_API_KEY"),
    os.environ.get("CHAT_MODEL", "openrouter/azure/gpt-4o"),
    base_url=os.environ.get("OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1"),
    default_system_prompt="You are a helpful assistant.",
)
limit = RateLimit(int(os.environ.get("CHAT_POSTS_PER_MINUTE", "20")))
web = Flask(__name__)
web.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES


def refuse(status: int, code: str, message: str) -> tuple[Response, int]:
    """Return an error in the form of all of them."""
    return jsonify({"error": {"code": code, "message": message}}), status


@web.get("/health")
def health() -> tuple[Response, int]:
    """Answer the probe of a container."""
    is_up = service.health_check()
    return jsonify({"status": "ok" if is_up else "openrouter unreachable"}), 200 if is_up else 503


@web.get("/api/csrf")
def csrf() -> Response:
    """Give a page its token, as a cookie and to read."""
    token = request.cookies.get(COOKIE) or new_token()
    reply = jsonify({"token": token})
    reply.set_cookie(COOKIE, token, samesite="Strict", httponly=True, secure=request.is_secure)
    return reply


@web.post("/api/chat")
def chat() -> Any:
    """Answer `{messages, params}` with OpenAI's shape."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if is_forged(headers, request.cookies.get(COOKIE)):
        return refuse(403, "csrf", "Reload the page and try again.")
    wait_s = limit.wait_s(request.remote_addr or "")
    if wait_s:
        refused, status = refuse(429, "rate_limited", "Too many messages. Please wait a little.")
        return refused, status, {"Retry-After": str(int(wait_s) + 1)}
    body: Any = request.get_json(silent=True)
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        return refuse(400, "invalid_request", "Send {messages: [...], params: {...}}.")
    params = body.get("params") or {}
    if not isinstance(params, dict) or not set(params) <= ALLOWED:
        return refuse(400, "invalid_request", f"params may hold {', '.join(sorted(ALLOWED))}.")
    return jsonify(service.chat_completion(body["messages"], model_params=params))


@web.errorhandler(OpenRouterServiceError)
def failed(error: OpenRouterServiceError) -> Any:
    """Tell the person, in their language; the log has the details."""
    web.logger.warning("%s: %s", error.code, error.message)
    language = request.headers.get("Accept-Language", "en")
    refused, status = refuse(error.status_hint, error.code, error.user_message_in(language))
    wait_s = error.retry_after_s
    return refused, status, {} if wait_s is None else {"Retry-After": str(int(wait_s) + 1)}


# uvicorn's worker speaks ASGI; a view may wait for its model while others are answered
app = WSGIMiddleware(web, workers=THREADS)
