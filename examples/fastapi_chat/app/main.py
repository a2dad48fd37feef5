"""A chat backend with FastAPI: asynchronous views, and the service object.

OPENROUTER_API_KEY=… gunicorn -k uvicorn.workers.UvicornWorker app.main:app -b 127.0.0.1:8000
"""

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from devflow_gateway import OpenRouterService, OpenRouterServiceError
from fastapi import Cookie, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from app.protection import COOKIE, RateLimit, is_forged, new_token

log = logging.getLogger("uvicorn.error")

# without a key the worker does not even start
service = OpenRouterService(
    os.environ.get("OPENROUTER_API_KEY"),
    os.environ.get("CHAT_MODEL", "openrouter/azure/gpt-4o"),
    base_url=os.environ.get("OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1"),
    default_system_prompt="You are a helpful assistant.",
)
limit = RateLimit(int(os.environ.get("CHAT_POSTS_PER_MINUTE", "20")))


class Params(BaseModel):
    """The fields of the API that a page may set."""

    model_config = ConfigDict(extra="forbid")
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: list[str] | None = None


class Chat(BaseModel):
    """The body of a post."""

    messages: list[dict[str, Any]]
    params: Params = Params()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Open the ledger before the first request, and close it after the last."""
    async with service:
        yield


app = FastAPI(title="Chat", lifespan=lifespan)


def refuse(
    status: int, code: str, message: str, retry_after_s: float | None = None
) -> JSONResponse:
    """Return an error in the form of all of them."""
    headers = {} if retry_after_s is None else {"Retry-After": str(int(retry_after_s) + 1)}
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


@app.get("/health")
async def health() -> JSONResponse:
    """Answer the probe of a container."""
    is_up = await service.ahealth_check()
    text = "ok" if is_up else "openrouter unreachable"
    return JSONResponse({"status": text}, 200 if is_up else 503)


@app.get("/api/csrf")
async def csrf(request: Request, csrf: Annotated[str | None, Cookie()] = None) -> JSONResponse:
    """Give a page its token, as a cookie and to read."""
    token = csrf or new_token()
    reply = JSONResponse({"token": token})
    is_secure = request.url.scheme == "https"
    reply.set_cookie(COOKIE, token, samesite="strict", httponly=True, secure=is_secure)
    return reply


@app.post("/api/chat")
async def chat(request: Request, body: Chat) -> JSONResponse:
    """Answer `{messages, params}` with OpenAI's shape."""
    if is_forged(request.headers, request.cookies.get(COOKIE)):
        return refuse(403, "csrf", "Reload the page and try again.")
    wait_s = limit.wait_s(request.client.host if request.client else "")
    if wait_s:
        return refuse(429, "rate_limited", "Too many messages. Please wait a little.", wait_s)
    params = body.params.model_dump(exclude_none=True)
    return JSONResponse(await service.chat_completion(body.messages, model_params=params))


@app.exception_handler(OpenRouterServiceError)
async def failed(request: Request, error: OpenRouterServiceError) -> JSONResponse:
    """Tell the person, in their language; the log has the details."""
    log.warning("%s: %s", error.code, error.message)
    language = request.headers.get("accept-language", "en")
    text = error.user_message_in(language)
    return refuse(error.status_hint, error.code, text, error.retry_after_s)
