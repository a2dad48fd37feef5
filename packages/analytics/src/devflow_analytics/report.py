"""Represents a report: groups that add up to a total, savings, and recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from devflow_core.dimensions import GroupBy
from devflow_core.summary import Groups, Summary
from devflow_core.usage import from_pico, usd_text

from devflow_analytics.savings import Baseline, Savings, compute_savings

KEY_SEPARATOR = " · "
"""Stands between the parts of a group's name where the name is one text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One recommendation, and the money it would save."""

    text: str
    """The text for people; it names the model, task or session, never the text of a message."""
    saves_usd: Decimal
    """An estimate for the report's period, as the text says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The cost and usage of a period; labels and numbers only, no text of messages."""

    dimensions: tuple[GroupBy, ...]
    """What the groups are made by: one dimension, or an outer and an inner one."""
    groups: Groups
    """Sums by key, which has one text for each dimension, "" if it is unknown.

    Most expensive first, days in order; with two dimensions, all groups of an outer key stand
    together, and the outer keys are ordered in the same way.
    """
    total: Summary
    models: Mapping[str, Summary]
    """The same period by model, most expensive first, without times."""
    days: Mapping[str, Summary]
    """The same period by day (UTC), in order; empty unless requested."""
    daily: Groups = field(default_factory=dict[tuple[str, ...], Summary])
    """The same by day and `daily_by`; empty unless requested."""
    daily_by: GroupBy = "model"
    """What the days are divided by: the first dimension that is not the day, or the model."""
    since: datetime | None
    """The start of the period, inclusive, in UTC; None: from the beginning."""
    until: datetime | None
    """The end of the period, exclusive, in UTC; None: up to `made_at`."""
    made_at: datetime
    """When the report was made, in UTC."""
    baseline: Baseline | None
    """The model that savings are compared with; None if there is none, or its price is unknown."""
    baseline_model: str | None = None
    """The name of the model that savings were to be compared with; None if there was none."""
    recommendations: tuple[Recommendation, ...]
    """The recommendations, largest saving first."""

    @property
    def by(self) -> str:
        """The dimensions as text: `model`, or `project,model`."""
        return ",".join(self.dimensions)

    @property
    def rows(self) -> Mapping[str, Summary]:
        """The groups by one text each: its key, or with two dimensions `shop · openai/gpt-4o`."""
        found: dict[str, Summary] = {}
        for key, row in self.groups.items():
            # labels are free text: two keys may read alike
            name = KEY_SEPARATOR.join(key)
            found[name] = found.get(name, Summary()) + row
        return found

    @property
    def nested(self) -> Mapping[str, Mapping[str, Summary]]:
        """The groups of each outer key by their inner key; "" is the inner key of one dimension."""
        found: dict[str, dict[str, Summary]] = {}
        for key, row in self.groups.items():
            found.setdefault(key[0], {})["".join(key[1:])] = row
        return found

    def savings_of(self, summary: Summary) -> Savings | None:
        """Return what a group of this report saved; None without a baseline."""
        return compute_savings(summary, self.baseline) if self.baseline else None

    def as_json(self) -> dict[str, Any]:
        """Return JSON: money is decimal text in USD, durations are seconds, times RFC 3339."""
        return {
            "by": self.by,
            "since": format_time(self.since),
            "until": format_time(self.until),
            "made_at": format_time(self.made_at),
            "time_zone": "UTC",
            "rows": [
                {
                    "key": KEY_SEPARATOR.join(key),
                    "keys": dict(zip(self.dimensions, key, strict=True)),
                }
                | self._row_as_json(row)
                for key, row in self.groups.items()
            ],
            "total": self._row_as_json(self.total),
            "savings": _savings_as_json(self.savings_of(self.total)),
            "recommendations": [
                {"text": one.text, "saves_usd": usd_text(one.saves_usd)}
                for one in self.recommendations
            ],
        }

    def _row_as_json(self, row: Summary) -> dict[str, Any]:
        saved = self.savings_of(row)
        return {
            "requests": row.requests,
            "attempts": row.attempts,
            "errors": row.failed,
            "errors_by_code": dict(sorted(row.errors.items())),
            "cache_hits": row.cache_hits,
            "input_tokens": row.usage.input_tokens,
            "cache_read_tokens": row.usage.cache_read_tokens,
            "cache_write_tokens": row.usage.cache_write_tokens,
            "output_tokens": row.usage.output_tokens,
            "reasoning_tokens": row.usage.reasoning_tokens,
            "prompt_cache_hit_rate": cache_hit_rate(row),
            "cost_usd": usd_text(from_pico(row.cost_pico)),
            "estimated_usd": usd_text(from_pico(row.estimated_pico)),
            "cost_doubts": row.doubts,
            "retry_usd": usd_text(from_pico(row.retry_pico)),
            "saved_usd": usd_text(saved.saved_usd) if saved else None,
            "ttft_p50_s": _round_s(row.ttft.quantile_s(0.5)),
            "ttft_p95_s": _round_s(row.ttft.quantile_s(0.95)),
            "ttft_p99_s": _round_s(row.ttft.quantile_s(0.99)),
            "total_p50_s": _round_s(row.total.quantile_s(0.5)),
            "total_p95_s": _round_s(row.total.quantile_s(0.95)),
            "total_p99_s": _round_s(row.total.quantile_s(0.99)),
        }


def cache_hit_rate(row: Summary) -> float | None:
    """Return the share (0..1) of input tokens read from the prompt cache; None without input."""
    prompt = row.usage.prompt_tokens
    return round(row.usage.cache_read_tokens / prompt, 4) if prompt else None


def format_time(moment: datetime | None) -> str | None:
    """Format a time in UTC as RFC 3339 with Z, to the second; None stays None."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _savings_as_json(saved: Savings | None) -> dict[str, Any] | None:
    if saved is None:
        return None
    return {
        "baseline_model": saved.baseline_model,
        "baseline_cost_usd": usd_text(saved.baseline_cost_usd),
        "cost_usd": usd_text(saved.cost_usd),
        "saved_usd": usd_text(saved.saved_usd),
    }


def _round_s(seconds: float | None) -> float | None:
    """Round to four decimals: a histogram is not more precise."""
    return None if seconds is None else round(seconds, 4)
