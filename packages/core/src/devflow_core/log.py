"""Structured logs, with a redaction that nothing bypasses."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

_SECRET_PATTERN = re.compile(
    r"sk-[A-Za-z0-9_\-]{8,}"  # OpenAI, Anthropic and the routers to them
    r"|devflow_[A-Za-z0-9_\-]{16,}"  # client keys of this gateway
    r"|(?i:bearer\s+)[A-Za-z0-9._~+/\-]{8,}=*"
)
MASK = "[masked]"


def redact(text: str) -> str:
    """The text with everything that looks like a key or a bearer token masked."""
    return _SECRET_PATTERN.sub(MASK, text)


class _CurrentStderr(io.StringIO):
    """Whatever `sys.stderr` is when a line is written: it may have been exchanged since."""

    def write(self, text: str, /) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(
    level: str = "warning",
    style: Literal["console", "json"] = "console",
    stream: TextIO | None = None,
) -> None:
    """Set up structlog for the process: one line an event on `stream`, secrets masked.

    Args:
        level: `debug`, `info`, `warning` or `error`; lower events cost under a microsecond.
        style: `json` for machines.
        stream: where to write; None is standard error.
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
        logger_factory=structlog.PrintLoggerFactory(stream or _CurrentStderr()),
        cache_logger_on_first_use=False,
    )


def mask_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The processor that masks every value, also nested ones, just before rendering."""
    for key in event:
        event[key] = _mask(event[key])
    return event


def _mask(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _mask(one) for key, one in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_mask(one) for one in cast("list[object]", value)]
    return redact(str(value))
