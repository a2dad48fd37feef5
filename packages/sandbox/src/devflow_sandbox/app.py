"""Which function answers which path, and how what it raises is told."""

from __future__ import annotations

import re
from collections.abc import Callable

from devflow_sandbox import inference
from devflow_sandbox.api_error import Dialect, Refusal
from devflow_sandbox.apply_fault import strike
from devflow_sandbox.dialects import chat, messages, responses
from devflow_sandbox.endpoints import account, catalogue, control, generation, keys, media, vectors
from devflow_sandbox.faults.errors import refused
from devflow_sandbox.faults.form import Status
from devflow_sandbox.faults.rules import Aim
from devflow_sandbox.message import Answer, Request
from devflow_sandbox.sandbox_state import World

Endpoint = Callable[[World, Request], Answer]
API = "/api/v1"


def chat_completions(world: World, request: Request) -> Answer:
    """`POST /chat/completions`."""
    return inference.answer(world, request, chat)


def anthropic_messages(world: World, request: Request) -> Answer:
    """`POST /messages`."""
    return inference.answer(world, request, messages)


def openai_responses(world: World, request: Request) -> Answer:
    """`POST /responses`."""
    return inference.answer(world, request, responses)


_EXACT: dict[tuple[str, str], Endpoint] = {
    ("POST", f"{API}/chat/completions"): chat_completions,
    ("POST", f"{API}/messages"): anthropic_messages,
    ("POST", f"{API}/responses"): openai_responses,
    ("GET", f"{API}/models"): catalogue.models,
    ("GET", f"{API}/models/count"): catalogue.count,
    ("GET", f"{API}/models/user"): catalogue.user_models,
    ("GET", f"{API}/providers"): catalogue.all_providers,
    ("GET", f"{API}/endpoints/zdr"): catalogue.zdr,
    ("GET", f"{API}/key"): account.key,
    ("GET", f"{API}/credits"): account.credits,
    ("GET", f"{API}/generation"): generation.generation,
    ("GET", f"{API}/activity"): account.activity,
    ("POST", f"{API}/embeddings"): vectors.embeddings,
    ("POST", f"{API}/rerank"): vectors.rerank,
    ("POST", f"{API}/audio/transcriptions"): media.transcriptions,
    ("POST", f"{API}/audio/speech"): media.speech,
    ("POST", f"{API}/images"): media.images,
    ("GET", f"{API}/keys"): keys.listed,
    ("POST", f"{API}/keys"): keys.created,
    ("POST", f"{API}/auth/keys"): keys.exchanged,
    ("GET", "/auth"): keys.page,
    ("POST", "/auth"): keys.authorised,
    ("GET", "/sandbox/bill"): control.bill,
    ("GET", "/sandbox/faults"): control.faults,
    ("PUT", "/sandbox/faults"): control.set_faults,
    ("GET", "/sandbox/faults/schema"): control.faults_schema,
    ("GET", "/sandbox/script"): control.script,
    ("PUT", "/sandbox/script"): control.set_script,
    ("GET", "/sandbox/clock"): control.clock,
    ("PUT", "/sandbox/clock"): control.set_clock,
}
_PATTERNS: tuple[tuple[str, re.Pattern[str], Endpoint], ...] = (
    ("GET", re.compile(rf"{API}/model/[^/]+/[^/]+"), catalogue.model),
    ("GET", re.compile(rf"{API}/keys/[^/]+"), keys.shown),
    ("PATCH", re.compile(rf"{API}/keys/[^/]+"), keys.changed),
    ("DELETE", re.compile(rf"{API}/keys/[^/]+"), keys.deleted),
    ("GET", re.compile(rf"{API}/models/[^/]+/[^/]+/endpoints"), catalogue.endpoints),
)
_REPLIES = frozenset(f"{API}/{name}" for name in ("chat/completions", "messages", "responses"))
_DIALECTS: dict[str, Dialect] = {f"{API}/messages": "messages", f"{API}/responses": "responses"}


class App:
    """Answers requests, one after the other, out of one world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answer(self, request: Request) -> Answer:
        """The answer to any request; what is wrong with it becomes an error answer."""
        try:
            endpoint = self._endpoint(request)
            if request.path in _REPLIES or not request.path.startswith(API):
                return endpoint(self.world, request)
            return self._struck(request, endpoint)
        except Refusal as refusal:
            dialect = _DIALECTS.get(request.path, "chat")
            return refusal.answer(dialect, user_id=self.world.account.user_id)

    def _struck(self, request: Request, endpoint: Endpoint) -> Answer:
        """Any endpoint but those for replies, which look for faults provider by provider."""
        struck = self.world.faults.arm().strike(Aim(request=request))
        if struck is None:
            return endpoint(self.world, request)
        fault, _ = struck
        if isinstance(fault.then, Status):
            raise refused(fault.then, model="", provider="", now_s=self.world.now_s())
        return strike(fault, endpoint(self.world, request))

    def _endpoint(self, request: Request) -> Endpoint:
        method = "GET" if request.method == "HEAD" else request.method
        found = _EXACT.get((method, request.path))
        if found is not None:
            return found
        for verb, pattern, endpoint in _PATTERNS:
            if verb == method and pattern.fullmatch(request.path):
                return endpoint
        raise Refusal(404, "Not Found")
