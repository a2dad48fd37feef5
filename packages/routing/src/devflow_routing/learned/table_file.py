"""Packs a learned table as one npz file, and reads it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from io import BytesIO
from typing import Any, cast
from zipfile import BadZipFile
from zlib import error as ZlibError  # noqa: N812 - a class, named as one

import numpy as np
import orjson
from devflow_core.errors import ConfigurationError
from numpy.typing import NDArray

from devflow_routing.learned.gate import Gate
from devflow_routing.learned.heads import HEAD_ARRAYS, WordHeads, features_version
from devflow_routing.learned.table import FORM, LearnedTable, TableFacts

_DAMAGED = (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile, ZlibError)
"""What reading a damaged file raises."""


def pack_table(table: LearnedTable) -> bytes:
    """Return the content of a table's file; `unpack_table` reads it."""
    packed = BytesIO()
    about = orjson.dumps({"values": table.values(), "facts": asdict(table.facts)})
    save = cast("Callable[..., None]", np.savez_compressed)
    save(packed, about=np.frombuffer(about, dtype=np.uint8), **table.arrays())
    return packed.getvalue()


def unpack_table(content: bytes) -> LearnedTable:
    """Return the table of a file's content.

    Raises:
        ConfigurationError: it is damaged, or was learned by another version of DevFlow.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        about = orjson.loads(arrays.pop("about").tobytes())
        return _build_table(arrays, about["values"], about["facts"])
    except _DAMAGED as error:
        raise ConfigurationError(
            "The learned table is damaged. `devflow routing undo` goes back to the one before."
        ) from error


def _build_table(
    arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any], facts: Mapping[str, Any]
) -> LearnedTable:
    if values["form"] != FORM or values["features"] not in ("", features_version()):
        raise ConfigurationError(
            "The learned table was made by another version of DevFlow, which reads prompts"
            " differently. Learn it anew with `devflow routing train`, or drop it with"
            " `devflow routing undo`."
        )
    heads = gate = None
    if values["features"]:
        heads = WordHeads(**{name: arrays[name] for name in HEAD_ARRAYS})
        gate = Gate(
            means=arrays["gate_means"],
            spreads=arrays["gate_spreads"],
            lifts=arrays["gate_lifts"],
            weights=arrays["gate_weights"],
            least=arrays["gate_least"],
            threshold=values["threshold"],
        )
    low, high = values["log_cost_range"]
    return LearnedTable(
        models=tuple(values["models"]),
        kinds=tuple(values["kinds"]),
        best=values["best"],
        coarse_quality=arrays["coarse_quality"],
        coarse_costs=arrays["coarse_costs"],
        coarse_price=values["coarse_price"],
        facts=TableFacts(**facts),
        domains=tuple(values["domains"]),
        domain_quality=arrays.get("domain_quality", np.zeros((0, 0))),
        heads=heads,
        gate=gate,
        price=values["price"],
        log_cost_range=(low, high),
    )
