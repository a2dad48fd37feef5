"""Offers the service object to programs without an event loop, such as plain Flask views."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from devflow_openrouter.service.options import ServiceOptions
from devflow_openrouter.service.service import (
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    OpenRouterService,
)
from devflow_openrouter.service.transports import HttpClient

_T = TypeVar("_T")
MAX_END_S = 30.0
"""Seconds that closing the service may take, and then again the end of its thread."""


class SyncOpenRouterService:
    """`OpenRouterService` for code that waits: the same arguments, names, results and errors.

    Its calls run in one background thread, so that threads of a web server may share one object.
    The thread starts with the first call, after a server has forked its workers. Close it, or use
    `with`. A program that forgets to may end all the same, and loses no entry of the ledger.

    Args:
        api_key: see `OpenRouterService`, as for all further arguments.
        model_name: the model of calls that name none.
        base_url: the base URL of OpenRouter's API.
        timeout: seconds to connect, and the longest silence between bytes of one attempt.
        max_retries: attempts in total, the first included.
        backoff_factor: the wait after n failures is this to the power of n, in seconds, at most 30.
        default_system_prompt: put before messages without one of the role `system` or `developer`.
        default_response_format: OpenAI's `response_format`, for calls that set none.
        http_client: an asynchronous client, used in the background thread only.

    Raises:
        OpenRouterConfigError: there is no key, or a value is not allowed.
    """

    def __init__(  # noqa: PLR0913 - the signature that its users know
        self,
        api_key: str | None,
        model_name: str = DEFAULT_MODEL,
        *,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        max_retries: int = 3,
        backoff_factor: float = 2.0,
        default_system_prompt: str | None = None,
        default_response_format: dict[str, Any] | None = None,
        http_client: HttpClient | None = None,
    ) -> None:
        self._service = OpenRouterService(
            api_key,
            model_name,
            base_url=base_url,
            timeout=timeout,
            max_retries=max_retries,
            backoff_factor=backoff_factor,
            default_system_prompt=default_system_prompt,
            default_response_format=default_response_format,
            http_client=http_client,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @property
    def model_name(self) -> str:
        """The model of calls that name none; it may be changed at any time."""
        return self._service.model_name

    @model_name.setter
    def model_name(self, model_name: str) -> None:
        self._service.model_name = model_name

    @property
    def base_url(self) -> str:
        """The base URL of the API that is asked."""
        return self._service.base_url

    @property
    def options(self) -> ServiceOptions:
        """Alerts, the guard, the language of errors, logging, the ledger."""
        return self._service.options

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and the ledger and end the thread; a later call starts again.

        Raises:
            TimeoutError: the service was not closed within `MAX_END_S`.
        """
        with self._starting:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._service.aclose(), loop).result(MAX_END_S)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(MAX_END_S)

    def chat_completion(
        self,
        messages: list[dict[str, Any]],
        *,
        model_params: Mapping[str, Any] | None = None,
        response_format: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the reply to messages, parsed; see `OpenRouterService.chat_completion`."""
        return self._wait_for(
            self._service.chat_completion(
                messages, model_params=model_params, response_format=response_format
            )
        )

    def generate_completion(self, prompt: str, **kwargs: Any) -> str:
        """Return the text of the reply; see `OpenRouterService.generate_completion`."""
        return self._wait_for(self._service.generate_completion(prompt, **kwargs))

    def health_check(self) -> bool:
        """Return whether OpenRouter answers; see `OpenRouterService.health_check`."""
        return self._service.health_check()

    def _wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what the work returns; if this thread is interrupted, the work is cancelled."""
        future: concurrent.futures.Future[_T] = asyncio.run_coroutine_threadsafe(
            work, self._start()
        )
        try:
            return future.result()  # every call inside has a deadline of its own
        except BaseException:
            future.cancel()
            raise

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # a daemon: when a program ends, asyncio's own threads are gone before a hook of
                # ours could close the service, and every reply was durable when it was handed out
                self._thread = threading.Thread(
                    target=_run_until_stopped,
                    args=(self._loop,),
                    name="devflow-service",
                    daemon=True,
                )
                self._thread.start()
            return self._loop


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
