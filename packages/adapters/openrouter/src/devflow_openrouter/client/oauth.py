"""Obtains a key for a user by OAuth with PKCE, without ever seeing their password.

Open the link, let the user agree, take the `code` from the request to your callback, and exchange
it for the key.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from devflow_core.errors import ProtocolError

from devflow_openrouter.client.api_client import ApiClient

_AUTH_URL = "https://openrouter.ai/auth"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One attempt to obtain a key; a code can be used once, within ten minutes.

    Args:
        url: to be opened in the user's browser.
        verifier: the secret that later proves who asked; keep it in memory only.
    """

    url: str
    verifier: str = field(repr=False)

    @classmethod
    def begin(cls, callback_url: str | None = None) -> Authorization:
        """Start an attempt with a new link.

        Args:
            callback_url: where the browser is sent with `?code=`: https, or any port of localhost;
                None: the code is shown to the user instead.
        """
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if callback_url is not None:
            query["callback_url"] = callback_url
        return cls(url=f"{_AUTH_URL}?{urlencode(query)}", verifier=verifier)

    async def exchange_code(self, api: ApiClient, code: str) -> str:
        """Exchange a code for the user's key, and return the key.

        Args:
            api: the client that asks OpenRouter; no key is needed.
            code: as the callback received it, or as the user copied it.

        Raises:
            UpstreamError: the code is wrong, used or over ten minutes old, or OpenRouter does not
                answer.
            ProtocolError: the reply holds no key.
        """
        body = {"code": code, "code_verifier": self.verifier, "code_challenge_method": "S256"}
        reply: Any = await api.post("/auth/keys", body)
        key = reply.get("key")
        if not isinstance(key, str) or not key:
            raise ProtocolError("OpenRouter's answer holds no key. Start again with a new link.")
        return key
