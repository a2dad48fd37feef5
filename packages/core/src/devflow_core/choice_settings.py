"""Holds the settings of the choice of a model, which `Settings` inherits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, Field

from devflow_core.folder_trust import Taste


class ChoiceSettings(BaseModel):
    """The user's wishes for the choice of a model; a folder that is not trusted may set most."""

    preferred_models: Annotated[tuple[str, ...], Taste()] = ()
    """Models that `auto` asks first, in this order, where they can take the request."""
    cost_priority: Annotated[float, Taste()] = Field(default=0.5, ge=0, le=1)
    """How much a lower cost counts against expected quality, from 0 (not at all) to 1."""
    performance_priority: Annotated[float, Taste()] = Field(default=0.2, ge=0, le=1)
    """How much a shorter wait counts against expected quality, from 0 (not at all) to 1."""
    quality_floor: Annotated[float, Taste()] = Field(default=0.9, ge=0, le=1)
    """The least quality in a session, as a share of that of the model that it began with."""
    allow_free: bool = False
    """Whether `auto` may choose `:free` models; they share a daily limit, and some keep prompts."""
    fallback_models: Annotated[tuple[str, ...], Taste()] = ()
    """Models that are tried last if the request names a model, after its own fallbacks."""
    fallbacks: Annotated[Mapping[str, tuple[str, ...]], Taste()] = {}
    """Fallbacks by model id or pattern."""
    aliases: Annotated[Mapping[str, str], Taste()] = {}
    """Names for models; `*` and `?` match as in file names."""
    nodes: Annotated[
        Mapping[str, Mapping[str, Any]],
        Taste(columns=("model", "cost_priority", "performance_priority", "quality_floor")),
    ] = {}
    """Named tasks, each with the model, the weights and the floor of quality that it uses."""
    models: Annotated[Mapping[str, Mapping[str, Any]], Taste(columns=("quality",))] = {}
    """Corrections to the catalogue by model id: prices, windows, quality."""
    verify: tuple[str, ...] = ()
    """A command that decides on answers of `auto:verified` to `ask` and to programs.

    It never runs for a request to the server.
    """
    verify_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that the command may take; then the answer counts as refused."""
    verify_judge: str | None = None
    """A model that decides on answers of `auto:verified`; None: none does."""
    verify_judge_max_usd: Decimal = Field(default=Decimal("0.05"), ge=0)
    """The most that the judge may cost for one request in the worst case, in USD."""
    baseline_model: Annotated[str, Taste()] = "anthropic/claude-sonnet-4.5"
    """The model that savings are computed against."""
    learn_quality: bool = False
    """Whether feedback changes the expected quality."""
