"""Configures structured logs in which all secrets are masked."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, TextIO, cast

import structlog

from devflow_core.masking import mask


class _Lines(io.StringIO):
    """The sink of log lines; a closed reader, a closed terminal or a full disk raises nothing.

    Args:
        stream: where to write; None: `sys.stderr` as it is when a line is written, since it may be
            replaced.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str, /) -> int:
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            (self._stream or sys.stderr).write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            (self._stream or sys.stderr).flush()


def configure(
    level: str = "warning",
    style: Literal["console", "json"] = "console",
    stream: TextIO | None = None,
) -> None:
    """Set up structlog for the process: one line per event on `stream`, secrets masked.

    Args:
        level: `debug`, `info`, `warning` or `error`; lower events cost under a microsecond.
        style: `console` for people, `json` for machines.
        stream: where to write; None: standard error.
    """
    renderer = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(_Lines(stream)),
        cache_logger_on_first_use=False,
    )


@contextmanager
def leaving_out(*events: str) -> Generator[None]:
    """Leave events of these names out of the process's log, because they are said elsewhere."""

    def drop(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if event.get("event") in events:
            raise structlog.DropEvent
        return event

    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[drop, *processors])
    try:
        yield
    finally:
        structlog.configure(processors=processors)


def mask_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask every value of an event in place, nested ones too, and return the event.

    It is the last processor before rendering. Values that JSON cannot express become text.
    """
    for key in event:
        event[key] = _mask_value(event[key])
    return event


def _mask_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        found = cast("Mapping[object, object]", value)
        return {mask(str(key)): _mask_value(one) for key, one in found.items()}
    if isinstance(value, list | tuple):
        return [_mask_value(one) for one in cast("list[object]", value)]
    return mask(str(value))
