"""Routes each path to its endpoint, and turns raised errors into error answers."""

from __future__ import annotations

import re
from collections.abc import Callable

from devflow_sandbox import inference
from devflow_sandbox.api_error import ApiError, DialectName
from devflow_sandbox.apply_fault import apply_fault
from devflow_sandbox.dialects import chat, messages, responses
from devflow_sandbox.endpoints import (
    account,
    catalogue,
    control,
    embeddings,
    generation,
    keys,
    media,
    statistics,
)
from devflow_sandbox.faults.errors import make_error
from devflow_sandbox.faults.matching import RequestTarget
from devflow_sandbox.faults.schema import StatusFault
from devflow_sandbox.message import Answer, SandboxRequest
from devflow_sandbox.sandbox_state import SandboxState

Endpoint = Callable[[SandboxState, SandboxRequest], Answer]
API = "/api/v1"


def create_chat_completion(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /chat/completions`."""
    return inference.answer_request(state, request, chat)


def create_message(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /messages`."""
    return inference.answer_request(state, request, messages)


def create_response(state: SandboxState, request: SandboxRequest) -> Answer:
    """Answer `POST /responses`."""
    return inference.answer_request(state, request, responses)


_EXACT_ROUTES: dict[tuple[str, str], Endpoint] = {
    ("POST", f"{API}/chat/completions"): create_chat_completion,
    ("POST", f"{API}/messages"): create_message,
    ("POST", f"{API}/responses"): create_response,
    ("GET", f"{API}/models"): catalogue.list_models,
    ("GET", f"{API}/models/count"): catalogue.count_models,
    ("GET", f"{API}/models/user"): catalogue.list_user_models,
    ("GET", f"{API}/providers"): catalogue.list_providers,
    ("GET", f"{API}/endpoints/zdr"): catalogue.list_zdr_endpoints,
    ("GET", f"{API}/benchmarks"): statistics.list_benchmarks,
    ("GET", f"{API}/datasets/rankings-daily"): statistics.list_daily_rankings,
    ("GET", f"{API}/classifications/task"): statistics.list_task_shares,
    ("GET", f"{API}/key"): account.get_key,
    ("GET", f"{API}/credits"): account.get_credits,
    ("GET", f"{API}/generation"): generation.get_generation,
    ("GET", f"{API}/activity"): account.get_activity,
    ("POST", f"{API}/embeddings"): embeddings.create_embeddings,
    ("POST", f"{API}/rerank"): embeddings.rerank,
    ("POST", f"{API}/audio/transcriptions"): media.create_transcription,
    ("POST", f"{API}/audio/speech"): media.create_speech,
    ("POST", f"{API}/images"): media.create_images,
    ("GET", f"{API}/keys"): keys.list_keys,
    ("POST", f"{API}/keys"): keys.create_key,
    ("POST", f"{API}/auth/keys"): keys.exchange_code,
    ("GET", "/auth"): keys.show_consent,
    ("POST", "/auth"): keys.grant_code,
    ("GET", "/sandbox/bill"): control.get_bill,
    ("GET", "/sandbox/faults"): control.get_faults,
    ("PUT", "/sandbox/faults"): control.set_faults,
    ("GET", "/sandbox/faults/plan"): control.get_fault_plan,
    ("GET", "/sandbox/faults/schema"): control.get_faults_schema,
    ("GET", "/sandbox/script"): control.get_script,
    ("PUT", "/sandbox/script"): control.set_script,
    ("GET", "/sandbox/clock"): control.get_clock,
    ("PUT", "/sandbox/clock"): control.set_clock,
}
_PATTERN_ROUTES: tuple[tuple[str, re.Pattern[str], Endpoint], ...] = (
    ("GET", re.compile(rf"{API}/model/[^/]+/[^/]+"), catalogue.get_model),
    ("GET", re.compile(rf"{API}/keys/[^/]+"), keys.get_key),
    ("PATCH", re.compile(rf"{API}/keys/[^/]+"), keys.update_key),
    ("DELETE", re.compile(rf"{API}/keys/[^/]+"), keys.delete_key),
    ("GET", re.compile(rf"{API}/models/[^/]+/[^/]+/endpoints"), catalogue.list_endpoints),
)
_REPLY_PATHS = frozenset(f"{API}/{name}" for name in ("chat/completions", "messages", "responses"))
_DIALECT_BY_PATH: dict[str, DialectName] = {
    f"{API}/messages": "messages",
    f"{API}/responses": "responses",
}


class SandboxApp:
    """Answers requests one at a time, from the state of one sandbox."""

    def __init__(self, state: SandboxState) -> None:
        self.state = state

    def answer(self, request: SandboxRequest) -> Answer:
        """Answer any request; an error in it becomes an error answer."""
        try:
            endpoint = self._find_endpoint(request)
            # the stand-in's own endpoints never fail on request, so that a test can always end a
            # fault
            if request.path in _REPLY_PATHS or not request.path.startswith(API):
                return endpoint(self.state, request)
            return self._answer_or_fault(request, endpoint)
        except ApiError as error:
            dialect = _DIALECT_BY_PATH.get(request.path, "chat")
            return error.to_answer(dialect, user_id=self.state.account.user_id)

    def _answer_or_fault(self, request: SandboxRequest, endpoint: Endpoint) -> Answer:
        """Answer, or apply a fault; not for replies, whose faults are found per provider."""
        matched = self.state.faults.make_matcher().match(RequestTarget(request=request))
        if matched is None:
            return endpoint(self.state, request)
        fault, _ = matched
        if isinstance(fault.then, StatusFault):
            raise make_error(fault.then, model="", provider="", now_s=self.state.now_s())
        return apply_fault(fault, endpoint(self.state, request))

    def _find_endpoint(self, request: SandboxRequest) -> Endpoint:
        method = "GET" if request.method == "HEAD" else request.method
        exact = _EXACT_ROUTES.get((method, request.path))
        if exact is not None:
            return exact
        for verb, pattern, endpoint in _PATTERN_ROUTES:
            if verb == method and pattern.fullmatch(request.path):
                return endpoint
        raise ApiError(404, "Not Found")
