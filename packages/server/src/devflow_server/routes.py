"""Holds the table of routes. Every route must say who may use it, or the server does not start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import unquote

from devflow_core.errors import ConfigurationError
from devflow_core.messages import JsonObject
from devflow_core.wire import Dialect, dialect_of_client
from devflow_core.wire.table import DEFAULT_DIALECT

from devflow_server.auth import Caller
from devflow_server.http import Exchange, Request
from devflow_server.http.limits import MAX_SMALL_BODY_BYTES
from devflow_server.http.message import Header

_MAX_FOLDERS = 6
"""The folders of an unknown path that are looked at; no route is deeper."""


class Access(Enum):
    """The callers who may use a route."""

    OPEN = "open"
    """Everybody who reaches the socket under an allowed Host name; for health checks."""
    CLIENT = "client"
    """A client key, or the user of this machine unless keys are required."""
    OPERATOR = "operator"
    """A client key with the scope `operate`, or the user of this machine."""


class Face(Enum):
    """The readers of a route's errors, who decide their form."""

    API = "api"
    """Programs: an error is in the route's dialect, or plain JSON."""
    APPLICATION = "application"
    """A page or program written for this gateway: `detail` is the text to show, or the one code
    that it acts on."""


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """One request on its way through the application."""

    exchange: Exchange
    route: HttpRoute
    request_id: str
    caller: Caller
    path_parameter: str = ""
    """The value of `{…}` in the route's path, percent-decoded once."""
    reply_headers: list[Header] = field(default_factory=list[Header])
    """Additional headers for the reply."""
    log_fields: dict[str, object] = field(default_factory=dict[str, object])
    """Fields for the access log, such as model and cost; never text of the request."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of the route; do not read it on routes of plain JSON, which have none."""
        assert self.route.dialect is not None  # noqa: S101 - see above
        return self.route.dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoute:
    """A route with its handler and its policy.

    `path` may end in `/{name}`, which takes the rest of the path, slashes included.
    """

    method: str
    path: str
    handler: Callable[[RequestContext], Awaitable[None]]
    access: Access | None = None
    """The callers let in; None is refused at the start, so that no route is open by mistake."""
    group: str = "read"
    """The scope of a client key that includes it: one of `devflow_store.ROUTE_GROUPS`."""
    max_body_bytes: int = MAX_SMALL_BODY_BYTES
    """The largest body it accepts; an open route accepts none."""
    serves_outages: bool = False
    """Whether it reports the ledger's state, so it must accept recently valid keys in an outage."""
    dialect: Dialect | None = None
    """The dialect of its requests, replies and errors; None is plain JSON."""
    face: Face = Face.API
    """The form of its errors."""
    summary: str = ""
    """One line for the OpenAPI description."""
    body_schema: JsonObject | None = None
    """JSON Schema of the part of its body that every client sends; None without a body."""


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """A route with the value of its path parameter."""

    route: HttpRoute
    parameter: str
    """The value of `{…}` in the route's path, percent-decoded once; empty without one."""


class RouteTable:
    """Finds routes by exact path. Paths are not normalised: another spelling is another path.

    Raises:
        ConfigurationError: a route does not say who may use it, or is declared twice.
    """

    def __init__(self, routes: Iterable[HttpRoute]) -> None:
        self.routes = tuple(routes)
        self._exact: dict[str, dict[str, RouteMatch]] = {}
        self._by_prefix: dict[str, dict[str, HttpRoute]] = {}
        for route in self.routes:
            self._add(route)

    def _add(self, route: HttpRoute) -> None:
        if route.access is None:
            raise ConfigurationError(
                f"The route {route.method} {route.path} does not say who may use it."
            )
        prefix, is_open_ended, _ = route.path.partition("{")
        known = self._by_prefix.get(prefix, {}) if is_open_ended else self._exact.get(prefix, {})
        if route.method in known:
            raise ConfigurationError(f"The route {route.method} {route.path} is declared twice.")
        if is_open_ended:
            self._by_prefix.setdefault(prefix, {})[route.method] = route
        else:
            self._exact.setdefault(prefix, {})[route.method] = RouteMatch(route, "")

    def find(self, method: str, path: str) -> RouteMatch | None:
        """Return the route for a method and a path exactly as sent; None if there is none.

        HEAD counts as GET.
        """
        wanted = "GET" if method == "HEAD" else method
        by_method = self._exact.get(path)
        # an exact path decides alone: with another method it is a 405, not a name below a prefix
        if by_method is not None:
            return by_method.get(wanted)
        for prefix, routes in self._by_prefix.items():
            if path.startswith(prefix) and len(path) > len(prefix) and wanted in routes:
                return RouteMatch(routes[wanted], unquote(path[len(prefix) :]))
        return None

    def manner_of_error(
        self, request: Request, route: HttpRoute | None
    ) -> tuple[Dialect | None, Face]:
        """Return the form of an error: that of the route, else the one that its client reads.

        A route of plain JSON, or a path without a route, may be asked by a client that shows its
        dialect in its headers.
        """
        if route is not None and (route.dialect is not None or route.face is not Face.API):
            return route.dialect, route.face
        dialect, face = (None, route.face) if route else self._manner_at(request.path)
        if face is Face.API:
            dialect = dialect_of_client(request.headers) or dialect
        return dialect, face

    def _manner_at(self, path: str) -> tuple[Dialect | None, Face]:
        """Return an error's form where no route matches: that of the routes at or near the path.

        If these differ, it is that of an API, in the dialect that most clients know.
        """
        near = self._find_neighbours(path)
        if not near:
            return None, Face.API
        dialects = [one.dialect for one in near]
        is_one = all(one is dialects[0] for one in dialects)
        # below some paths the default dialect has errors of another form
        default = (one for one in dialects if one and one.name == DEFAULT_DIALECT.name)
        dialect = dialects[0] if is_one else next(default, DEFAULT_DIALECT)
        faces = {one.face for one in near}
        face = faces.pop() if len(faces) == 1 else Face.API
        return dialect, face

    def _find_neighbours(self, path: str) -> list[HttpRoute]:
        """Return the routes at or below a path, or those in the nearest folder above it."""
        names = path.split("/", _MAX_FOLDERS + 1)[1 : _MAX_FOLDERS + 1]
        while names:
            folder = "/" + "/".join(names)
            near = [one for one in self.routes if f"{one.path}/".startswith(f"{folder}/")]
            if near:
                return near
            names.pop()
        return []

    def allowed_methods(self, path: str) -> tuple[str, ...]:
        """Return the methods that a path accepts; empty if there is no such path."""
        found = set(self._exact.get(path, ()))
        for prefix, routes in self._by_prefix.items():
            if path.startswith(prefix) and len(path) > len(prefix):
                found |= set(routes)
        return tuple(sorted(found | ({"HEAD"} if "GET" in found else set())))
