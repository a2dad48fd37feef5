"""Adds the context of a Claude Code session to a request (`X-DevFlow-Session`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

from devflow_core.errors import Forbidden, SessionError
from devflow_core.ports import ContextInjector
from devflow_core.request import ChatRequest

from devflow_server.routes import RequestContext

_SESSION_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{7,63}")
FindSession = Callable[[str], ContextInjector]
"""Returns the session of an id; reads files, and raises `SessionError`."""


class SessionContexts:
    """Finds sessions by id below the Claude configuration folder; paths are not accepted.

    Args:
        find: returns the session of an id, or raises `SessionError`; called in a thread, since it
            reads files.
    """

    def __init__(self, find: FindSession) -> None:
        self._find = find

    async def add_context(self, context: RequestContext, request: ChatRequest) -> ChatRequest:
        """Return the request with the context of the session it names; unchanged if it names none.

        Raises:
            Forbidden: the caller is not an operator; sessions belong to the user of this machine.
            SessionError: the id is malformed or unknown, or the session cannot be read.
        """
        session_id = context.exchange.request.headers.get("x-devflow-session")
        if session_id is None:
            return request
        if not _SESSION_ID.fullmatch(session_id):
            raise SessionError("X-DevFlow-Session: send the id of a session.")
        if not context.caller.is_operator:
            raise Forbidden("Only a key with the scope `operate` may use sessions of this machine.")
        injector = await asyncio.to_thread(self._find, session_id)
        given = request.attribution
        request = await injector.inject(request)
        tokens = sum(piece.tokens for piece in request.context)
        context.reply_headers.append(("x-devflow-context-tokens", str(tokens)))
        # a session does not decide whose key a request came with, or for which node
        attribution = replace(request.attribution, client_key=given.client_key, node=given.node)
        return replace(request, attribution=attribution)
