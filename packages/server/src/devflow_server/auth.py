"""Who is asking: a client key, or the user of this machine; and whether a browser page is."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from devflow_core.errors import ConfigurationError, Forbidden, Unauthorized
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.scope import is_in_scope

from devflow_server.http import Request
from devflow_server.http.message import UPSTREAM_KEY_HEADER

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MAX_KEY_CHARS = 512
_MIN_KEY_CHARS = 16


class ClientKey(Protocol):
    """A client key as the store knows it: its name and what it may do, never its secret."""

    @property
    def name(self) -> str:
        """How the user calls it; the label in the ledger."""
        ...

    @property
    def scopes(self) -> Mapping[str, Any]:
        """`routes`: groups of routes. `models`: patterns as of file names. Absent: all of them."""
        ...


class KeyVerifier(Protocol):
    """Where client keys are looked up."""

    async def verify(self, secret: str, /) -> ClientKey | None:
        """The key of this secret; None when it is unknown, revoked or expired.

        Raises:
            StoreError: it cannot be told, so nobody is let in.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom a request is from."""

    name: str
    """Of the client key; `local` for the user of this machine, `anybody` on open routes."""
    is_operator: bool = False
    groups: frozenset[str] | None = None
    """Groups of routes it may use; None is all but the operator's."""
    models: tuple[str, ...] | None = None
    """Patterns of model ids it may use; None is all."""
    upstream_key: str | None = field(default=None, repr=False)
    """A provider key that came in the place of a client key."""

    def may_use(self, model: str) -> bool:
        """Whether a model is within the key's scope."""
        return is_in_scope(self.models, model)


LOCAL_CALLER = Caller(name="local", is_operator=True)
ANONYMOUS = Caller(name="anybody", groups=frozenset())


class Authenticator:
    """Decides who a request is from and whether it may come in.

    Args:
        keys: where client keys are looked up.
        require_key: whether the user of this machine needs a client key too.
        allowed_hosts: names besides loopback under which the gateway may be addressed.
        local_key: a key that only this process knows, for a client it has started itself.
    """

    def __init__(
        self,
        keys: KeyVerifier,
        *,
        require_key: bool,
        allowed_hosts: tuple[str, ...] = (),
        local_key: str | None = None,
    ) -> None:
        self._keys = keys
        self._require_key = require_key
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in allowed_hosts}
        self._local_key = local_key.encode() if local_key else None
        KNOWN_SECRETS.remember([local_key])

    def check_origin(self, request: Request) -> None:
        """Turn away pages of other sites: names that were rebound, and foreign origins.

        Raises:
            Forbidden: the Host is not ours, or a browser sends it for another site.
        """
        host = request.headers.get("host", "")
        if _host_name(host) not in self._hosts:
            raise Forbidden(
                "This gateway is not addressed under this Host. Add the name to allowed_hosts."
            )
        origin = request.headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Forbidden("Pages of other sites may not use this gateway.")
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Forbidden("Pages of other sites may not use this gateway.")

    async def authenticate(self, request: Request) -> Caller:
        """Who is asking; decided by the socket and the key, never by another header.

        Raises:
            Unauthorized: a key is needed and there is none, or it is wrong.
            StoreError: the key cannot be looked up.
        """
        secret = _read_secret(request.headers)
        if not self._require_key and is_loopback(request.peer):
            if secret is not None and secret.startswith("sk-or-"):
                return Caller(name="local", is_operator=True, upstream_key=secret)
            return LOCAL_CALLER
        if secret is None:
            raise Unauthorized(
                "A client key is needed: send it as `Authorization: Bearer` or `x-api-key`."
            )
        if self._local_key is not None and hmac.compare_digest(secret.encode(), self._local_key):
            return LOCAL_CALLER
        key = await self._keys.verify(secret)
        if key is None:
            raise Unauthorized("This client key is unknown, revoked or expired.")
        return _caller_from_key(key)


def check_bind(host: str, *, require_key: bool, has_keys: bool) -> None:
    """Refuse to listen where others could use what only the user may.

    Raises:
        ConfigurationError: off loopback without client keys.
    """
    if is_loopback(host) or host == "localhost":
        return
    if not require_key:
        raise ConfigurationError(
            f"The gateway would listen on {host} without asking for keys. Set require_key = true,"
            " or listen on 127.0.0.1."
        )
    if not has_keys:
        raise ConfigurationError(
            f"The gateway would listen on {host}, but there is no client key. Make one with"
            " `devflow keys create NAME` first."
        )


def is_loopback(address: str) -> bool:
    """Whether an address of a socket is this machine's own loopback."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def presented_secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What a request shows to be let in or to pay with, right or wrong: it is repeated nowhere."""
    found = (headers.get("x-api-key"), headers.get(UPSTREAM_KEY_HEADER))
    token = headers.get("authorization", "").rpartition(" ")[2]
    return tuple(dict.fromkeys(one for one in (*found, token) if one and _is_key_like(one)))


def _is_key_like(value: str) -> bool:
    """Placeholders, and names of models that somebody sends for a key, stay readable."""
    return len(value) >= _MIN_KEY_CHARS and "/" not in value


def _caller_from_key(key: ClientKey) -> Caller:
    routes = key.scopes.get("routes")
    models = key.scopes.get("models")
    return Caller(
        name=key.name,
        is_operator=routes is not None and "operate" in routes,
        groups=None if routes is None else frozenset(routes),
        models=None if models is None else tuple(models),
    )


def _host_name(host: str) -> str:
    """The host without its port, in lower case; empty for what is no host."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    return name.lower() if not port or (port.isascii() and port.isdigit()) else ""


def _read_secret(headers: Mapping[str, str]) -> str | None:
    """The client key of a request; `Authorization` before `x-api-key`, as SDKs send both."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    secret = token.strip() if scheme.lower() == "bearer" else ""
    secret = secret or headers.get("x-api-key", "")
    if not secret:
        return None
    if len(secret) > _MAX_KEY_CHARS or not secret.isascii() or not secret.isprintable():
        raise Unauthorized("The client key is malformed.")
    return secret
