"""Asks a function of the caller's own about an answer."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

from devflow_core.ports import Panel
from devflow_core.request import ChatRequest
from devflow_core.verification import CheckedAnswer, Hook, Verdict

MAX_DETAIL_CHARS = 500
"""The length to which the words of a hook are cut."""


class HookCheck:
    """Accepts what the caller's function accepts; an exception refuses the answer.

    Args:
        hook: the function; if it is not `async`, it runs in a thread, which is left behind when its
            time is over.
        timeout_s: the seconds after which an answer counts as refused.
    """

    name = "hook"

    def __init__(self, hook: Hook, timeout_s: float) -> None:
        self._hook = hook
        self._timeout_s = timeout_s

    async def judge(
        self, _request: ChatRequest, answer: CheckedAnswer, _panel: Panel, /
    ) -> Verdict | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                said = await self._ask(answer)
        except TimeoutError:
            return Verdict(is_accepted=False, reason=f"no result within {self._timeout_s:g} s")
        except Exception as error:  # noqa: BLE001 - whatever a stranger's function raises
            return Verdict(
                is_accepted=False,
                reason=f"it raised {type(error).__name__}",
                detail=str(error)[:MAX_DETAIL_CHARS],
            )
        if isinstance(said, str):
            detail = said[:MAX_DETAIL_CHARS]
            return Verdict(is_accepted=False, reason="it gave a reason", detail=detail)
        is_accepted = said is None or bool(said)
        return Verdict(is_accepted=is_accepted, reason=f"it returned {is_accepted}")

    async def _ask(self, answer: CheckedAnswer) -> Any:
        if inspect.iscoroutinefunction(self._hook):
            return await self._hook(answer)
        said = await _call_in_thread(self._hook, answer)
        return await said if inspect.isawaitable(said) else said


async def _call_in_thread(hook: Hook, answer: CheckedAnswer) -> Any:
    """Call the function in a thread that does not keep the program from ending if it hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = hook(answer)
        except Exception as caught:  # noqa: BLE001 - raised again where it is awaited
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="devflow-hook", daemon=True).start()
    return await done
