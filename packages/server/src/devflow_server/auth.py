"""Who is asking: a client key, or the user of this machine; and whether a browser page is."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from devflow_core.errors import ConfigurationError, Forbidden, StoreError, Unauthorized
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.scope import is_in_scope

from devflow_server.guesses import GuessBrake
from devflow_server.http import Request
from devflow_server.http.message import UPSTREAM_KEY_HEADER

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_FORWARDING_HEADERS = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "forwarded-for",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forwarded",
        "x-forwarded-by",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-original-forwarded-for",
        "x-original-host",
        "x-real-ip",
    }
)
"""What proxies add: behind one, the socket's other end is the proxy and not who is asking."""
_MAX_KEY_CHARS = 512
_MIN_KEY_CHARS = 16


class ClientKey(Protocol):
    """A client key as the store knows it: its name and what it may do, never its secret."""

    @property
    def id(self) -> str:
        """Its own for ever; a name may be given again."""
        ...

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

    def find_known(self, secret: str, /) -> ClientKey | None:
        """The key of this secret if it was in force a moment ago; None says nothing."""
        ...

    async def verify(self, secret: str, /) -> ClientKey | None:
        """The key of this secret; None when it is unknown, revoked or expired.

        Raises:
            StoreError: it cannot be told, so nobody is let in.
        """
        ...

    def find_former(self, secret: str, /) -> ClientKey | None:
        """The key of this secret if it was in force when keys were last read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom a request is from."""

    name: str
    """Of the client key; `local` for the user of this machine, `anybody` on open routes."""
    id: str
    """Whose replies and bytes are whose: of the client key or of the own key that was sent. No
    name that a person can choose is an id."""
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


LOCAL_CALLER = Caller(name="local", id="local", is_operator=True)
ANONYMOUS = Caller(name="anybody", id="anybody", groups=frozenset())


class Authenticator:
    """Decides who a request is from and whether it may come in.

    Args:
        keys: where client keys are looked up.
        require_key: whether the user of this machine needs a client key too.
        allowed_hosts: names besides loopback under which the gateway may be addressed.
        local_key: a key that only this process knows, for a client it has started itself.
        brake: slows down who guesses keys.
    """

    def __init__(
        self,
        keys: KeyVerifier,
        *,
        require_key: bool,
        allowed_hosts: tuple[str, ...] = (),
        local_key: str | None = None,
        brake: GuessBrake | None = None,
    ) -> None:
        self._keys = keys
        self._brake = brake or GuessBrake()
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

    def recognize(self, request: Request) -> Caller | None:
        """Who is asking, where nothing has to be looked up for it.

        It is decided by the socket and the key, never by another header. Headers can only take a
        right away: what came through a proxy is not from the user of this machine.

        Raises:
            Unauthorized: a key is needed, and there is none or what can be none.
        """
        secret = _read_secret(request.headers)
        is_local = not self._require_key and is_loopback(request.peer)
        if is_local and self._is_direct(request.headers):
            return LOCAL_CALLER if secret is None else _local_caller(secret)
        if secret is None:
            raise Unauthorized(_PROXY_NEEDS_KEY if is_local else _KEY_NEEDED)
        if self._local_key is not None and hmac.compare_digest(secret.encode(), self._local_key):
            return LOCAL_CALLER
        key = self._keys.find_known(secret)
        return None if key is None else _caller_from_key(key)

    async def look_up(self, request: Request, *, takes_former: bool = False) -> Caller:
        """Who is asking, where `recognize` could not tell.

        Args:
            request: whose headers are there.
            takes_former: whether a key is enough, while none can be looked up, that was in force
                when they last could.

        Raises:
            Unauthorized: the key is wrong; told ever later to an address that sends many.
            StoreError: the key cannot be looked up.
        """
        secret = _read_secret(request.headers) or ""
        try:
            key = await self._keys.verify(secret)
        except StoreError:
            key = self._keys.find_former(secret) if takes_former else None
            if key is None:
                raise
        if key is None:
            raise await self._brake.refuse(request.peer)
        return _caller_from_key(key)

    def _is_direct(self, headers: Mapping[str, str]) -> bool:
        """Whether a request was sent to this machine's own name, and by nobody for another."""
        is_own = _is_own_name(_host_name(headers.get("host", "")))
        return is_own and _FORWARDING_HEADERS.isdisjoint(headers)


_KEY_NEEDED = "A client key is needed: send it as `Authorization: Bearer` or `x-api-key`."
_PROXY_NEEDS_KEY = (
    "This request came through a proxy, or under a name that is not this machine's own, so a client"
    " key is needed: make one with `devflow keys create NAME`, and send it as `Authorization:"
    " Bearer` or `x-api-key`."
)


def caller_id(caller: Caller, upstream_key: str | None) -> str:
    """Whose an idempotent reply is: the caller's, and the own key's that is to pay for it."""
    if upstream_key is None:
        return caller.id
    return f"{caller.id}/{hashlib.sha256(upstream_key.encode()).hexdigest()}"


def check_bind(
    host: str, *, require_key: bool, has_keys: bool, allowed_hosts: tuple[str, ...] = ()
) -> None:
    """Refuse to listen where others could use what only the user may.

    Raises:
        ConfigurationError: reachable by others without client keys.
    """
    foreign = [name for name in allowed_hosts if not _is_own_name(name)]
    if foreign and not require_key:
        raise ConfigurationError(
            f"The gateway would be addressed as {foreign[0]} without asking for keys, so everybody"
            " whom a proxy lets through could use it. Take the name out of allowed_hosts, or leave"
            " out --no-key (require_key = true)."
        )
    if _is_own_name(host):
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


def _is_own_name(name: str) -> bool:
    return name.lower() in LOOPBACK_NAMES or is_loopback(name.strip("[]"))


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
        id=f"key/{key.id}",
        is_operator=routes is not None and "operate" in routes,
        groups=None if routes is None else frozenset(routes),
        models=None if models is None else tuple(models),
    )


def _local_caller(secret: str) -> Caller:
    """The user of this machine, told apart by what was sent in the place of a client key."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    is_upstream = secret.startswith("sk-or-")
    return Caller(
        name="local",
        id=f"local/{digest}",
        is_operator=True,
        upstream_key=secret if is_upstream else None,
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
