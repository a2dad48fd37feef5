"""Identifies the caller of a request by its key or its socket, and refuses pages of other sites."""

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
from devflow_core.settings import Settings

from devflow_server.guesses import GuessBrake
from devflow_server.http import Request
from devflow_server.http.message import UPSTREAM_KEY_HEADER

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Hosts under which this machine addresses itself."""
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
"""Headers that proxies add. Behind a proxy the peer of the socket is the proxy, not the caller."""
# far longer than our keys and those of providers; bounds what is hashed for each request
_MAX_KEY_CHARS = 512
_MIN_KEY_CHARS = 16
"""The shortest text taken for a key; shorter ones are placeholders, readable in logs."""


class ClientKey(Protocol):
    """A client key as the store knows it: its name and its scopes, never its secret."""

    @property
    def id(self) -> str:
        """The key's permanent id; a name may be reused after a key is revoked."""
        ...

    @property
    def name(self) -> str:
        """The name that the user gave it, which is its label in the ledger."""
        ...

    @property
    def scopes(self) -> Mapping[str, Any]:
        """`routes`: groups of routes; `models`: patterns of model ids. An absent one allows all."""
        ...


class KeyVerifier(Protocol):
    """The port through which client keys are looked up."""

    def find_known(self, secret: str, /) -> ClientKey | None:
        """Return the key of this secret if it was valid recently; None leaves it to `verify`."""
        ...

    async def verify(self, secret: str, /) -> ClientKey | None:
        """Return the key of this secret; None if it is unknown, revoked or expired.

        Raises:
            StoreError: the key cannot be checked, so it is not accepted.
        """
        ...

    def find_former(self, secret: str, /) -> ClientKey | None:
        """Return the key of this secret if it was valid when keys were last read, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The sender of a request, and what it may do."""

    name: str
    """The client key's name; `local` for the user of this machine, `anybody` on open routes."""
    id: str
    """The owner of replies and held bytes: from the client key's id, or a hash of the key that the
    user of this machine sent; never a name that a person can choose."""
    is_operator: bool = False
    groups: frozenset[str] | None = None
    """Groups of routes that this caller may use; None means all but the operator's."""
    models: tuple[str, ...] | None = None
    """Patterns of model ids that this caller may use; None means all."""
    upstream_key: str | None = field(default=None, repr=False)
    """A provider key that was sent in place of a client key."""

    def may_use(self, model: str) -> bool:
        """Return whether a model is within the key's scope."""
        return is_in_scope(self.models, model)


LOCAL_CALLER = Caller(name="local", id="local", is_operator=True)
"""The user of this machine who sent no key, or a client that this process started."""
ANONYMOUS = Caller(name="anybody", id="anybody", groups=frozenset())
"""The caller of an open route, who is not identified."""


class Callers(Protocol):
    """The port through which the sender of a request is found and let in."""

    def check_origin(self, request: Request, /) -> None:
        """Refuse requests that come from pages of other sites.

        Raises:
            Forbidden: it is from such a page.
        """
        ...

    def recognize(self, request: Request, /) -> Caller | None:
        """Return the caller if that takes no look-up; None if `look_up` has to decide.

        Raises:
            Unauthorized: a key is needed, and it is missing or malformed.
        """
        ...

    async def look_up(self, request: Request, /, *, takes_former: bool = False) -> Caller:
        """Return the caller, after looking its key up.

        With `takes_former`, while keys cannot be read, one that was valid when they last could be
        is accepted.

        Raises:
            Unauthorized: the key is wrong.
            StoreError: the key cannot be looked up.
        """
        ...


class Authenticator:
    """Decides who sent a request, and whether it is let in.

    Args:
        keys: looks client keys up.
        require_key: whether the user of this machine needs a client key too.
        allowed_hosts: names besides loopback under which the gateway may be addressed.
        local_key: a key that only this process knows, for a client that it started.
        brake: slows down clients that guess keys.
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
        """Refuse requests from pages of other sites: foreign Hosts (DNS rebinding) and origins.

        Raises:
            Forbidden: the Host is not ours, or a browser sent it for a page of another site.
        """
        host = request.headers.get("host", "")
        if _host_name(host) not in self._hosts:
            raise Forbidden(
                "This gateway is not addressed under this Host. Add the name to allowed_hosts."
            )
        origin = request.headers.get("origin")
        # a page of our own sends the address under which it was opened
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Forbidden("Pages of other sites may not use this gateway.")
        # a foreign page's GET may come without an Origin, but browsers mark it with this header
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Forbidden("Pages of other sites may not use this gateway.")

    def recognize(self, request: Request) -> Caller | None:
        """Return the caller if that takes no look-up; None if `look_up` has to decide.

        The socket and the key decide, never another header. Other headers can only take a right
        away: a request through a proxy is not from the user of this machine.

        Raises:
            Unauthorized: a key is needed, and it is missing or malformed.
        """
        secret = _read_secret(request.headers)
        is_local = not self._require_key and is_loopback(request.peer)
        # before any key is checked: SDKs make the user of this machine send one, valid or not
        if is_local and self._is_direct(request.headers):
            return LOCAL_CALLER if secret is None else _local_caller(secret)
        if secret is None:
            raise Unauthorized(_PROXY_NEEDS_KEY if is_local else _KEY_NEEDED)
        # in constant time, so that the duration of a comparison reveals nothing of the key
        if self._local_key is not None and hmac.compare_digest(secret.encode(), self._local_key):
            return LOCAL_CALLER
        key = self._keys.find_known(secret)
        return None if key is None else _caller_from_key(key)

    async def look_up(self, request: Request, *, takes_former: bool = False) -> Caller:
        """Return the caller, after looking its key up.

        Args:
            request: its headers must be complete; its body is not read.
            takes_former: whether, while keys cannot be read, a key that was valid when they last
                could be is accepted.

        Raises:
            Unauthorized: the key is wrong; after many wrong ones, `TooManyGuesses` after a growing
                delay.
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
        """Return whether a request names this machine as its Host and passed no proxy."""
        is_own = _is_own_name(_host_name(headers.get("host", "")))
        return is_own and _FORWARDING_HEADERS.isdisjoint(headers)


_KEY_NEEDED = "A client key is needed: send it as `Authorization: Bearer` or `x-api-key`."
_PROXY_NEEDS_KEY = (
    "This request came through a proxy, or under a name that is not this machine's own, so a client"
    " key is needed: make one with `devflow keys create NAME`, and send it as `Authorization:"
    " Bearer` or `x-api-key`."
)


def make_authenticator(
    settings: Settings, keys: KeyVerifier, *, local_key: str | None = None
) -> Authenticator:
    """Return an authenticator that asks for keys and accepts hosts as the settings say.

    Args:
        settings: all of them.
        keys: looks client keys up.
        local_key: a client key, if any, that only this process accepts, for a client it started.
    """
    # pages of other sites use 0.0.0.0 to reach this machine
    is_name = settings.host not in ("0.0.0.0", "::", "")  # noqa: S104 - not bound here
    return Authenticator(
        keys,
        require_key=settings.require_key,
        allowed_hosts=(*settings.allowed_hosts, *((settings.host,) if is_name else ())),
        local_key=local_key,
    )


def caller_id(caller: Caller, upstream_key: str | None) -> str:
    """Return the owner of a keyed reply: the caller's id, with a hash of its own provider key."""
    if upstream_key is None:
        return caller.id
    return f"{caller.id}/{hashlib.sha256(upstream_key.encode()).hexdigest()}"


def check_bind(
    host: str, *, require_key: bool, has_keys: bool, allowed_hosts: tuple[str, ...] = ()
) -> None:
    """Refuse to listen on an address where others could act as the user of this machine.

    Args:
        host: the address to listen on.
        require_key: whether the user of this machine needs a client key too.
        has_keys: whether there is a client key.
        allowed_hosts: names besides loopback under which the gateway may be addressed.

    Raises:
        ConfigurationError: others could reach the gateway without a client key.
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
    """Return whether a socket address is a loopback address; False for anything else."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    # a dual-stack socket reports 127.0.0.1 as ::ffff:127.0.0.1
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def presented_secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the texts that a request sent as keys, valid or not: they must not be logged.

    Left out are short texts and those with a `/`: placeholders, and model ids sent as keys.
    """
    found = (headers.get("x-api-key"), headers.get(UPSTREAM_KEY_HEADER))
    token = headers.get("authorization", "").rpartition(" ")[2]
    return tuple(dict.fromkeys(one for one in (*found, token) if one and _is_key_like(one)))


def _is_key_like(value: str) -> bool:
    """Return whether a text may be a key; placeholders and model ids sent as keys stay readable."""
    return len(value) >= _MIN_KEY_CHARS and "/" not in value


def _caller_from_key(key: ClientKey) -> Caller:
    routes = key.scopes.get("routes")
    models = key.scopes.get("models")
    return Caller(
        name=key.name,
        # not the name, which may be reused after a revocation
        id=f"key/{key.id}",
        is_operator=routes is not None and "operate" in routes,
        groups=None if routes is None else frozenset(routes),
        models=None if models is None else tuple(models),
    )


def _local_caller(secret: str) -> Caller:
    """Return the user of this machine, with an id derived from the text sent as a client key."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    # the main provider's keys begin with this; such a caller pays for the request itself
    is_upstream = secret.startswith("sk-or-")
    return Caller(
        name="local",
        id=f"local/{digest}",
        is_operator=True,
        upstream_key=secret if is_upstream else None,
    )


def _host_name(host: str) -> str:
    """Return the host without its port, in lower case; empty if the port is malformed."""
    name, colon, port = host.rpartition(":")
    # the colons of an IPv6 address in brackets do not begin a port
    if not colon or host.endswith("]"):
        name, port = host, ""
    return name.lower() if not port or (port.isascii() and port.isdigit()) else ""


def _read_secret(headers: Mapping[str, str]) -> str | None:
    """Return the client key of a request, or None; `Authorization` comes before `x-api-key`.

    Raises:
        Unauthorized: the key is too long, or holds other characters than printable ASCII.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    secret = token.strip() if scheme.lower() == "bearer" else ""
    secret = secret or headers.get("x-api-key", "")
    if not secret:
        return None
    if len(secret) > _MAX_KEY_CHARS or not secret.isascii() or not secret.isprintable():
        raise Unauthorized("The client key is malformed.")
    return secret
