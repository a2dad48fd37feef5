"""Reads OpenRouter's own accounts of the gateway's keys, for the reconciler."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Literal, cast

from devflow_core.errors import KeyRefused, ModelUnavailable, ProtocolError, Refused
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.ports import UpstreamKey
from devflow_core.usage import parse_decimal
from devflow_upstream.keys import key_id

from devflow_openrouter.client.api_client import ApiClient


class OpenRouterAccount:
    """The costs that OpenRouter has booked for the keys of a gateway.

    Args:
        api: the client that asks OpenRouter; closed by its owner.
        keys: the gateway's own keys; calls with a caller's key cannot be looked up.
        management_key: opens the totals of completed days; None: they are not available.
    """

    def __init__(
        self,
        api: ApiClient,
        keys: Sequence[str],
        *,
        management_key: str | None = None,
    ) -> None:
        self._api = api
        self._keys = {key_id(key): _make_key(key) for key in keys}
        self._management_key = _make_key(management_key) if management_key else None

    def has_key(self, key_id: str | None, /) -> bool:
        """Return whether this is one of the keys; None (unknown) counts as one if there are any."""
        return bool(self._keys) if key_id is None else key_id in self._keys

    async def fetch_generation(
        self, generation_id: str, key_id: str | None, /
    ) -> Mapping[str, Any] | None:
        """Return what OpenRouter has booked for a call; None while it has booked nothing.

        Calls are booked minutes later. None also if OpenRouter does not know the id, or if the key
        is not one of ours.

        Args:
            generation_id: OpenRouter's id of the call.
            key_id: the key that paid; None: unknown, so any of the keys is used.

        Raises:
            UpstreamError: the key is refused, or OpenRouter does not answer.
        """
        key = self._keys.get(key_id) if key_id else next(iter(self._keys.values()), None)
        if key is None:
            return None
        try:
            body = await self._api.generation(generation_id, key)
        except ModelUnavailable:  # OpenRouter answers 404 for calls that are not booked yet
            return None
        found = body.get("data")
        return cast("dict[str, Any]", found) if isinstance(found, dict) else None

    async def fetch_day_usd(self, day: date, /) -> Decimal | None:
        """Return what these keys cost on a completed day (UTC), in USD.

        None without a management key, or if OpenRouter refuses it.

        Raises:
            UpstreamError: OpenRouter does not answer.
            ProtocolError: an amount in the reply is malformed.
        """
        if self._management_key is None:
            return None
        total = Decimal(0)
        for key in self._keys.values():
            key_hash = hashlib.sha256(key.secret.encode()).hexdigest()
            query = {"date": str(day), "api_key_hash": key_hash}
            try:
                body = await self._api.get("/activity", query, key=self._management_key)
            except (KeyRefused, Refused):
                return None
            for row in _parse_rows(body):
                total += _parse_usd(row, "usage") + _parse_usd(row, "byok_usage_inference")
        return total

    async def fetch_usage_usd(self, period: Literal["daily", "weekly", "monthly"], /) -> Decimal:
        """Return the cost in USD of the current day, week or month (UTC) over these keys.

        An amount that OpenRouter leaves out counts as 0.

        Raises:
            UpstreamError: a key is refused, or OpenRouter does not answer.
            ProtocolError: the reply has no data, or an amount in it is malformed.
        """
        total = Decimal(0)
        for key in self._keys.values():
            status = (await self._api.key_status(key)).get("data")
            if not isinstance(status, dict):
                raise ProtocolError("OpenRouter's /key has no data. Try again later.")
            row = cast("dict[str, Any]", status)
            total += _parse_usd(row, f"usage_{period}") + _parse_usd(row, f"byok_usage_{period}")
        return total


def _make_key(secret: str) -> UpstreamKey:
    KNOWN_SECRETS.remember([secret])
    return UpstreamKey(secret=secret, id=key_id(secret), source="server")


def _parse_rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = body.get("data")
    return cast("list[dict[str, Any]]", rows) if isinstance(rows, list) else []


def _parse_usd(row: Mapping[str, Any], field: str) -> Decimal:
    """Return an amount by its shortest decimal text; 0 if the field is missing or empty.

    Raises:
        ProtocolError: it is not a number.
    """
    amount = parse_decimal(row.get(field) or 0)
    if amount is None:
        raise ProtocolError(f"OpenRouter's {field} is not an amount. Try again later.")
    return amount
