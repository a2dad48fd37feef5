"""Makes calls that need a management key: keys, guardrails, workspaces, members, usage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from devflow_core.errors import InvalidRequest, NotFound
from devflow_core.messages import JsonObject
from devflow_core.ports import UpstreamKey
from devflow_upstream.keys import key_id

from devflow_openrouter.client.json_calls import JsonCalls, Query, with_query


class ManagementClient:
    """OpenRouter's management operations, by their ids; a user key cannot call them.

    Args:
        api: carries the calls; closed by its creator.
        management_key: a management key of the account; it pays for no model.
    """

    def __init__(self, api: JsonCalls, management_key: str) -> None:
        self._api = api
        self._key = UpstreamKey(secret=management_key, id=key_id(management_key), source="server")

    async def call(
        self,
        operation: str,
        path: Mapping[str, str] | None = None,
        *,
        query: Query | None = None,
        body: JsonObject | None = None,
    ) -> JsonObject:
        """Make one call, and return the JSON object of its reply; nothing is retried.

        Args:
            operation: its id (`createKeys`, `listGuardrails`…); `operations()` lists them.
            path: the values of the names in its path (`{"hash": …}`).
            query: its parameters.
            body: its body; None: none.

        Raises:
            NotFound: there is no management operation of this id.
            InvalidRequest: a name of the path has no value.
            UpstreamError: OpenRouter refused or failed.
        """
        found = _operations().get(operation)
        if found is None:
            raise NotFound(
                f"There is no management operation {operation!r}. ManagementClient.operations() "
                "lists them; a user key's operations are methods of ApiClient."
            )
        method, template = found
        values = {name: quote(value, safe="") for name, value in (path or {}).items()}
        try:
            target = template.format(**values)
        except KeyError as error:
            raise InvalidRequest(
                f"{operation} needs {error} in path: its address is {template}."
            ) from None
        return await self._api.send(method, with_query(target, query), body, self._key)

    @staticmethod
    def operations() -> Mapping[str, tuple[str, str]]:
        """Return the method and the path of each management operation, by its id."""
        return dict(_operations())


@cache
def _operations() -> dict[str, tuple[str, str]]:
    text = files("devflow_openrouter").joinpath("data/operations.json").read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["operations"]
    return {one["id"]: (one["method"], one["path"]) for one in rows if one["key"] == "management"}
