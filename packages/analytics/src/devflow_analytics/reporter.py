"""Makes a report from the sums of a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from devflow_core.clocks import utc_now
from devflow_core.dimensions import GroupBy, read_dimensions
from devflow_core.masking import mask
from devflow_core.summary import Groups, LedgerReader, Summary

from devflow_analytics.recommendations import SESSION_GROUPING, TASK_GROUPING, recommend
from devflow_analytics.report import Report
from devflow_analytics.savings import Baseline, PriceOf


class Reporter:
    """Makes reports from a ledger.

    Args:
        reader: sums the ledger's entries; a store sums a million in half a second.
        price_of: returns the present price of a model, for savings and recommendations.
        baseline_model: the model savings are compared with; None, or a model of unknown price,
            leaves savings out.
        now: the wall clock, in UTC.
    """

    def __init__(
        self,
        reader: LedgerReader,
        *,
        price_of: PriceOf,
        baseline_model: str | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._reader = reader
        self._price_of = price_of
        self._baseline_model = baseline_model
        self._now = now

    def report(
        self,
        by: GroupBy | tuple[GroupBy, ...] = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        with_days: bool = False,
    ) -> Report:
        """Return a report of the calls that began in a period.

        This reads the ledger and blocks; call it in a thread if the ledger is large.

        Args:
            by: what the rows are grouped by: a dimension, or an outer and an inner one.
            since: inclusive, UTC; None is from the beginning.
            until: exclusive, UTC; None is until now.
            with_days: whether to sum by day as well, and each day by what the report is about,
                which `to_html` shows.

        Raises:
            InvalidRequest: `by` names no dimension, or not one or two different ones.
            StoreError: the ledger cannot be read.
        """
        dimensions = read_dimensions(by)
        kinds: list[GroupBy] = [one for one in dimensions if one != "day"]
        daily_by = kinds[0] if kinds else "model"
        # a store runs SQL outside the interpreter: in parallel it is twice as fast
        with ThreadPoolExecutor() as pool:

            def submit(by: tuple[GroupBy, ...], *, with_times: bool = False) -> Future[Groups]:
                return pool.submit(
                    self._reader.aggregate, by, since=since, until=until, with_times=with_times
                )

            groups_future = submit(dimensions, with_times=True)
            tasks_future = submit(TASK_GROUPING)
            sessions_future = submit(SESSION_GROUPING)
            days_future = submit(("day", daily_by)) if with_days else None
        groups, by_task = _merge(groups_future.result(), len(dimensions)), tasks_future.result()
        daily = _merge(days_future.result(), 2) if days_future else {}
        return Report(
            dimensions=dimensions,
            groups=_sort(groups, dimensions),
            # summed from the groups, so that the table always adds up
            total=_sum_summaries(groups.values()),
            models=_by_only_key(_sort(_merge(by_task, 1), ("model",))),
            days=_by_only_key(_sort(_merge(daily, 1), ("day",))),
            daily=_sort(daily, ("day", daily_by)),
            daily_by=daily_by,
            since=since,
            until=until,
            made_at=self._now(),
            baseline=self._baseline(),
            baseline_model=self._baseline_model,
            recommendations=recommend(by_task, sessions_future.result(), self._price_of),
        )

    def _baseline(self) -> Baseline | None:
        if self._baseline_model is None:
            return None
        price = self._price_of(self._baseline_model)
        return Baseline(model=self._baseline_model, price=price) if price else None


def _merge(groups: Groups, depth: int) -> dict[tuple[str, ...], Summary]:
    """Sum the groups by the first `depth` of their dimensions, with secrets masked in the keys."""
    found: dict[tuple[str, ...], Summary] = {}
    for key, summary in groups.items():
        # old rows hold error texts of providers verbatim
        label = tuple(mask(one) for one in key[:depth])
        found[label] = found[label] + summary if label in found else summary
    return found


def _sort(groups: Groups, dimensions: tuple[GroupBy, ...]) -> dict[tuple[str, ...], Summary]:
    """Order the groups level by level: days in order, all else most expensive first."""
    levels = range(1, len(dimensions) + 1)
    sums = [_merge(groups, depth) for depth in levels]

    def rank(key: tuple[str, ...]) -> tuple[tuple[int, int, str], ...]:
        return tuple(
            (0, 0, key[depth - 1])
            if dimensions[depth - 1] == "day"
            else (
                -sums[depth - 1][key[:depth]].cost_pico,
                -sums[depth - 1][key[:depth]].requests,
                key[depth - 1],
            )
            for depth in levels
        )

    return {key: groups[key] for key in sorted(groups, key=rank)}


def _by_only_key(groups: Groups) -> dict[str, Summary]:
    return {key: summary for (key,), summary in groups.items()}


def _sum_summaries(parts: Iterable[Summary]) -> Summary:
    total = Summary()
    for part in parts:
        total = total + part
    return total
