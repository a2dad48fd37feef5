"""Collects everything billable that the readers find in one request body."""

from __future__ import annotations

import re
from typing import Literal, cast

from devflow_core.billable.values import Billable, Doubt, NamedModel, Searches
from devflow_core.messages import JsonObject

_MODEL = re.compile(r"[\w.:/@+~\[\]-]{1,200}")
MAX_COUNT = 1_000
"""The largest number that is accepted as a bound; a larger one is treated as no bound."""


def as_object(value: object) -> JsonObject:
    """Return an object unchanged, and an empty one for any other value."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


class Found:
    """Everything found so far that one request body may be billed for."""

    def __init__(self) -> None:
        self.searches: list[Searches] = []
        self.speed: Literal["standard", "priority", "ultrafast", "fast"] = "standard"
        self.replies = 1
        self.extra_turns = 0
        self.max_steps: int | None = None
        self.output_kinds: tuple[str, ...] = ()
        self.pdf_engine: Literal["", "free", "ocr"] = ""
        self.max_output_tokens: int | None = None
        self._alternates: list[NamedModel] = []
        self._inside: list[NamedModel] = []
        self._doubts: list[Doubt] = []
        self._loop_path: str | None = None

    def name(self, model: object, path: str, *, is_inside: bool = False) -> None:
        """Record a model that may answer instead or, if `is_inside`, be asked by the one that does.

        A value that is not a model id is recorded as a doubt.
        """
        if isinstance(model, str) and _MODEL.fullmatch(model):
            known = self._inside if is_inside else self._alternates
            known.append(NamedModel(model=model, path=path))
        else:
            self.doubt(path, "this is not a model id")

    def doubt(
        self, path: str, why: str, concerns: Literal["models", "cost", "both"] = "both"
    ) -> None:
        """Record something whose cost or models have no known bound; arguments as in `Doubt`."""
        self._doubts.append(Doubt(path=path, why=why, concerns=concerns))

    def loop(self, path: str) -> None:
        """Record a tool after which the model continues in the same request."""
        self._loop_path = self._loop_path or path

    def count(self, value: object) -> int | None:
        """Return the value if it is a whole number from 1 to `MAX_COUNT`, otherwise None."""
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if 1 <= value <= MAX_COUNT else None

    def to_billable(self) -> Billable:
        """Return everything found; call it once, since it adds the turns of tools that loop."""
        if self._loop_path is not None:
            if self.max_steps is None:
                why = (
                    "the model may take any number of turns; set `stop_server_tools_when` to "
                    "step_count_is"
                )
                self.doubt(self._loop_path, why, "cost")
            else:
                # the turn in which the loop stops, and one more without tools
                self.extra_turns += self.max_steps + 1
        return Billable(
            alternates=tuple(self._alternates),
            inside=tuple(self._inside),
            searches=tuple(self.searches),
            doubts=tuple(self._doubts),
            speed=self.speed,
            replies=self.replies,
            extra_turns=self.extra_turns,
            output_kinds=self.output_kinds,
            pdf_engine=self.pdf_engine,
            max_output_tokens=self.max_output_tokens,
        )
