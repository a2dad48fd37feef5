"""Obtains a key for a person by OAuth with PKCE, without ever seeing their password.

Open the link, let the person agree, take the `code` from the call to your callback, exchange it.
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
    """One attempt to obtain a key. A code is good once, for ten minutes.

    Args:
        url: to be opened in the person's browser.
        verifier: the secret that proves later who asked; keep it in memory only.
    """

    url: str
    verifier: str = field(repr=False)

    @classmethod
    def begin(cls, callback_url: str | None = None) -> Authorization:
        """A fresh link.

        Args:
            callback_url: where the browser goes with `?code=`, https or any port of localhost;
                None shows the code to the person instead.
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
        """The key for a code.

        Raises:
            UpstreamError: the code is wrong, used or over ten minutes old.
            ProtocolError: the reply holds no key.
        """
        body = {"code": code, "code_verifier": self.verifier, "code_challenge_method": "S256"}
        reply: Any = await api.post("/auth/keys", body)
        key = reply.get("key")
        if not isinstance(key, str) or not key:
            raise ProtocolError("OpenRouter's answer holds no key. Start again with a new link.")
        return key
