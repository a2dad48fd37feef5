"""Asks one gateway in one dialect on behalf of the clauses, and counts the cost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from devflow_cli.conformance.recording import JsonObject, Recording, record
from devflow_cli.conformance.speech import Inquiry, Speech, Utterance
from devflow_cli.conformance.spending import Spending
from devflow_cli.conformance.stand_in import StandIn
from devflow_cli.conformance.terms import ClauseBroken, ClauseNotShown, Effort

MAX_BUSY_WAIT_S = 20.0
"""The longest wait for a busy upstream, in seconds, even if its `retry-after` is longer."""
# 529 is the status of Anthropic's `overloaded_error`
_BUSY = (429, 503, 529)
# words that a reply hardly contains by chance
_NAMES = ("MAPLE", "HERON", "COPPER", "LANTERN", "GRANITE", "WILLOW", "FALCON", "AMBER", "CEDAR")


@dataclass(slots=True, kw_only=True)
class Probe:
    """A gateway as the clauses of one group see it; the caller closes the client."""

    client: httpx.AsyncClient
    """The client, which has the gateway as its base URL and sends the key."""
    speech: Speech
    model: str
    models: Sequence[JsonObject]
    """The gateway's list of models; empty if it has none."""
    key: str | None
    spending: Spending
    stand_in: StandIn | None = None
    effort: Effort = field(default_factory=Effort)
    """The most that the clause under check may ask of a model."""
    calls: int = 0
    """The number of requests for a model's answer that the clause under check has made."""
    _kept: dict[str, Any] = field(default_factory=dict[str, Any])

    async def ask(self, inquiry: Inquiry) -> Utterance:
        """Ask a question, and return what the model says.

        Raises:
            ClauseBroken: it is refused, or the answer is too long or cannot be read.
            ClauseNotShown: the model is busy.
            httpx.HTTPError: there is no answer, or it breaks off.
        """
        return self.understand(await self.send(inquiry))

    async def send(self, inquiry: Inquiry, **headers: str) -> Recording:
        """Send a question and return the answer, which has status 200.

        Args:
            inquiry: the question.
            headers: see `try_to_send`.

        Raises:
            ClauseBroken: it is refused, or the answer is too long.
            ClauseNotShown: the model is busy.
            httpx.HTTPError: there is no answer, or it breaks off.
        """
        found = await self.try_to_send(inquiry, **headers)
        if found.status != 200:
            raise ClauseBroken(f"a valid request gets status {found.status}: {found.excerpt}")
        return found

    async def try_to_send(self, inquiry: Inquiry, **headers: str) -> Recording:
        """Send a question and return the answer, whatever its status is; ask a busy model twice.

        Args:
            inquiry: the question.
            headers: added to the dialect's, or replacing them; `_` stands for `-`.

        Raises:
            ClauseBroken: the answer is too long.
            ClauseNotShown: the model is busy.
            httpx.HTTPError: there is no answer, or it breaks off.
        """
        self.count_call()
        most = min(inquiry.max_tokens, self.effort.output_tokens)
        body = self.speech.write(replace(inquiry, max_tokens=most), self.model)
        found = await self.post(self.speech.path, body, **headers)
        if found.status in _BUSY:
            await asyncio.sleep(_wait_of(found))
            found = await self.post(self.speech.path, body, **headers)
        if found.status in _BUSY:
            raise ClauseNotShown(f"the model is busy (status {found.status}): try again later")
        if found.status == 200:
            self._book(found)
        return found

    def understand(self, found: Recording) -> Utterance:
        """Return what an answer says, whole or streamed.

        Raises:
            ClauseBroken: it cannot be read as a reply of the dialect.
        """
        try:
            reply = self.speech.assemble(found.events) if found.events else found.json
            return self.speech.read(reply)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            said = f"{type(error).__name__}: {error}"
            raise ClauseBroken(f"the reply cannot be read ({said}): {found.excerpt}") from None

    async def post(self, path: str, body: JsonObject, **headers: str) -> Recording:
        """Send a body with the dialect's headers, and return the answer; no call is counted.

        Raises:
            ClauseBroken, httpx.HTTPError: see `record`.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await record(self.client, path, body, {**self.speech.headers, **named})

    async def keep(self, name: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return the answer that is kept under this name; if there is none, ask now and keep it."""
        if name not in self._kept:
            self._kept[name] = await ask()
        return self._kept[name]

    def count_call(self) -> None:
        """Count a request that a model answers.

        Raises:
            RuntimeError: the check makes more calls than its clause allows, which is a bug.
        """
        self.calls += 1
        if self.calls > self.effort.calls:
            raise RuntimeError(f"more than {self.effort.calls} calls for one clause")

    def _book(self, found: Recording) -> None:
        worst = self.spending.worst_case(self.effort, self.model) / max(1, self.effort.calls)
        usage: object = None
        try:
            reply = self.speech.assemble(found.events) if found.events else found.json
            usage = reply.get("usage")
        except (KeyError, TypeError, ValueError, AttributeError, ClauseBroken):
            pass  # booked at its worst case; the clause itself reports what is wrong with it
        self.spending.add(usage, self.model, worst)

    def row(self) -> JsonObject:
        """Return the model's row in the gateway's list; empty if the list has none."""
        # routers put the maker's name before the model's
        named = [one for one in self.models if str(one.get("id")).endswith(self.model)]
        return named[0] if named else {}


def make_word() -> str:
    """Return a random code word, one of 8,100: no model guesses it."""
    chosen = random.SystemRandom()
    return f"{chosen.choice(_NAMES)}-{chosen.randrange(100, 1000)}"


def _wait_of(found: Recording) -> float:
    asked = found.headers.get("retry-after", "1")
    return min(float(asked), MAX_BUSY_WAIT_S) if asked.isdigit() else 1.0
