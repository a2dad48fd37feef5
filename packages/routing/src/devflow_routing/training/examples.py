"""Reads recorded answers: prompts, and what each model scored and cost on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import orjson
from devflow_core.errors import InvalidRequest
from devflow_core.routing import Complexity, TaskType

from devflow_routing.catalogue import Catalogue

MAX_FILE_BYTES = 512 * 1024 * 1024
"""The largest file of examples that is read."""
_KINDS: tuple[str, ...] = get_args(TaskType)
_COMPLEXITIES: tuple[str, ...] = get_args(Complexity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One prompt, and what models scored and cost on it.

    Without a prompt, the example teaches only the coarse table, by its kind and complexity.
    """

    prompt: str = field(default="", repr=False)
    scores: Mapping[str, float]
    """By model, 0 (useless) to 1 (as good as can be)."""
    costs_usd: Mapping[str, float] = field(default_factory=dict[str, float])
    """By model; a cost that is missing is taken to be the model's usual one."""
    domain: str = ""
    """The field of work, in the user's words; empty: the kind of task as classified."""
    kind: TaskType | None = None
    """Used only without a prompt; None: `knowledge`."""
    complexity: Complexity | None = None
    """Used only without a prompt; None: `medium`."""


def read_examples(path: Path) -> list[Example]:
    """Return the examples of a file of JSON lines; lines of the same prompt are one example.

    A line is `{"prompt": …, "model": …, "score": 0..1, "cost_usd": …, "domain": …}`; instead of
    `prompt` it may have `kind` and `complexity`. Cost and domain may be left out.

    Raises:
        InvalidRequest: the file cannot be read, or a line is not of this form; the message says
            which line, and what is wrong with it.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidRequest(
                f"{path} is larger than {MAX_FILE_BYTES} bytes. Take a part of it."
            )
        with path.open("rb") as lines:
            return join_examples(_parse_lines(lines, path))
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from None


def join_examples(examples: Iterable[Example]) -> list[Example]:
    """Join the examples of the same prompt; those without a prompt follow, as they are.

    Where a model answered a prompt more than once, its last score and its last cost count.
    """
    joined: dict[str, Example] = {}
    others: list[Example] = []
    for one in examples:
        known = joined.get(one.prompt) if one.prompt else None
        if not one.prompt:
            others.append(one)
        elif known is None:
            joined[one.prompt] = one
        else:
            joined[one.prompt] = replace(
                known,
                scores={**known.scores, **one.scores},
                costs_usd={**known.costs_usd, **one.costs_usd},
                domain=known.domain or one.domain,
            )
    return [*joined.values(), *others]


def name_as_listed(
    examples: Iterable[Example], catalogue: Catalogue, *, keeps_unlisted: bool
) -> tuple[list[Example], tuple[str, ...]]:
    """Return the examples with models named as in a catalogue, and the names that it lacks.

    Examples that are left without any score are dropped.

    Args:
        examples: recorded answers.
        catalogue: the models that can be chosen.
        keeps_unlisted: whether answers of models that it lacks are kept.
    """
    examples = list(examples)
    names = sorted({name for one in examples for name in one.scores})
    ids = {name: model.id for name in names if (model := catalogue.lookup(name)) is not None}
    unlisted = tuple(name for name in names if name not in ids)
    if keeps_unlisted:
        ids |= {name: name for name in unlisted}
    renamed = [
        replace(
            one,
            scores={ids[name]: score for name, score in one.scores.items() if name in ids},
            costs_usd={ids[name]: cost for name, cost in one.costs_usd.items() if name in ids},
        )
        for one in examples
    ]
    return [one for one in renamed if one.scores], unlisted


def _parse_lines(lines: Iterable[bytes], path: Path) -> Iterator[Example]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _parse_line(line)
        except ValueError as error:
            raise InvalidRequest(
                f"{path}, line {number}: {error}. A line is a JSON object with `prompt` (or `kind`"
                " and `complexity`), `model`, `score` from 0 to 1, and `cost_usd`."
            ) from None


def _parse_line(line: bytes) -> Example:
    """Return the example of a line.

    Raises:
        ValueError: the line is not of the form; the message says what is wrong, without the prompt.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ValueError("it is not JSON") from None
    if not isinstance(row, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - the caller names the line
    values = cast("dict[str, Any]", row)
    model, prompt = _read_text(values, "model"), _read_text(values, "prompt")
    if not model:
        raise ValueError("`model` is missing")
    cost = values.get("cost_usd")
    return Example(
        prompt=prompt,
        scores={model: _read_number(values, "score", 1.0)},
        costs_usd={} if cost is None else {model: _read_number(values, "cost_usd", math.inf)},
        domain=_read_text(values, "domain"),
        kind=cast("TaskType | None", _read_choice(values, "kind", _KINDS, is_needed=not prompt)),
        complexity=cast(
            "Complexity | None",
            _read_choice(values, "complexity", _COMPLEXITIES, is_needed=not prompt),
        ),
    )


def _read_text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"`{name}` is not a text")
    return found or ""


def _read_number(values: Mapping[str, Any], name: str, highest: float) -> float:
    found = values.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"`{name}` is not a number")  # noqa: TRY004 - the caller names the line
    if not 0 <= found <= highest or math.isinf(found):
        raise ValueError(f"`{name}` is not from 0 to {highest:g}")
    return float(found)


def _read_choice(
    values: Mapping[str, Any], name: str, choices: tuple[str, ...], *, is_needed: bool
) -> str | None:
    found = values.get(name)
    if found is None and not is_needed:
        return None
    if found not in choices:
        raise ValueError(f"`{name}` is none of {', '.join(choices)}")
    return found
