"""Which function answers which path, and how what it raises is told."""

from __future__ import annotations

import re
from collections.abc import Callable

from devflow_sandbox import inference
from devflow_sandbox.answer import Answer, Request
from devflow_sandbox.dialects import chat
from devflow_sandbox.endpoints import account, catalogue, control, generation
from devflow_sandbox.refusal import Dialect, Refusal
from devflow_sandbox.world import World

Endpoint = Callable[[World, Request], Answer]
API = "/api/v1"


def chat_completions(world: World, request: Request) -> Answer:
    """`POST /chat/completions`."""
    return inference.answer(world, request, chat)


_EXACT: dict[tuple[str, str], Endpoint] = {
    ("POST", f"{API}/chat/completions"): chat_completions,
    ("GET", f"{API}/models"): catalogue.models,
    ("GET", f"{API}/models/count"): catalogue.count,
    ("GET", f"{API}/models/user"): catalogue.user_models,
    ("GET", f"{API}/providers"): catalogue.all_providers,
    ("GET", f"{API}/endpoints/zdr"): catalogue.zdr,
    ("GET", f"{API}/key"): account.key,
    ("GET", f"{API}/credits"): account.credits,
    ("GET", f"{API}/generation"): generation.generation,
    ("GET", f"{API}/activity"): account.activity,
    ("GET", "/sandbox/bill"): control.bill,
}
_PATTERNS: tuple[tuple[str, re.Pattern[str], Endpoint], ...] = (
    ("GET", re.compile(rf"{API}/model/[^/]+/[^/]+"), catalogue.model),
    ("GET", re.compile(rf"{API}/models/[^/]+/[^/]+/endpoints"), catalogue.endpoints),
)
_DIALECTS: dict[str, Dialect] = {f"{API}/messages": "messages", f"{API}/responses": "responses"}


class App:
    """Answers requests, one after the other, out of one world."""

    def __init__(self, world: World) -> None:
        self.world = world

    def answer(self, request: Request) -> Answer:
        """The answer to any request; what is wrong with it becomes an error answer."""
        try:
            return self._endpoint(request)(self.world, request)
        except Refusal as refusal:
            dialect = _DIALECTS.get(request.path, "chat")
            return refusal.answer(dialect, user_id=self.world.account.user_id)

    def _endpoint(self, request: Request) -> Endpoint:
        method = "GET" if request.method == "HEAD" else request.method
        found = _EXACT.get((method, request.path))
        if found is not None:
            return found
        for verb, pattern, endpoint in _PATTERNS:
            if verb == method and pattern.fullmatch(request.path):
                return endpoint
        raise Refusal(404, "Not Found")
