"""Makes a report from the sums of a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from devflow_core.clocks import utc_now
from devflow_core.dimensions import GroupBy
from devflow_core.masking import mask
from devflow_core.summary import Groups, LedgerReader, Summary

from devflow_analytics.recommendations import EVIDENCE_GROUPING, recommend
from devflow_analytics.report import Report
from devflow_analytics.savings import Baseline, PriceOf


class Reporter:
    """Makes reports from a ledger.

    Args:
        reader: sums the ledger's entries; a store sums a million per second.
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
        by: GroupBy = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        with_days: bool = False,
    ) -> Report:
        """Return a report of the calls that began in a period.

        This reads the ledger and blocks; call it in a thread if the ledger is large.

        Args:
            by: what the rows are grouped by.
            since: inclusive, UTC; None is from the beginning.
            until: exclusive, UTC; None is until now.
            with_days: whether to sum by day as well, which `to_html` shows.

        Raises:
            StoreError: the ledger cannot be read.
        """
        # a store runs SQL outside the interpreter: in parallel it is twice as fast
        with ThreadPoolExecutor() as pool:

            def submit(by: tuple[GroupBy, ...], *, with_times: bool = False) -> Future[Groups]:
                return pool.submit(
                    self._reader.aggregate, by, since=since, until=until, with_times=with_times
                )

            rows_future = submit((by,), with_times=True)
            evidence_future = submit(EVIDENCE_GROUPING)
            days_future = submit(("day",)) if with_days else None
        rows, evidence = _sum_by_first_key(rows_future.result()), evidence_future.result()
        days = _sum_by_first_key(days_future.result()) if days_future else {}
        return Report(
            by=by,
            rows=dict(sorted(rows.items())) if by == "day" else _sort_by_cost(rows),
            # summed from the rows, so that the table always adds up
            total=_sum_summaries(rows.values()),
            models=_sort_by_cost(_sum_by_first_key(evidence)),
            days=dict(sorted(days.items())),
            since=since,
            until=until,
            made_at=self._now(),
            baseline=self._baseline(),
            recommendations=recommend(evidence, self._price_of),
        )

    def _baseline(self) -> Baseline | None:
        if self._baseline_model is None:
            return None
        price = self._price_of(self._baseline_model)
        return Baseline(model=self._baseline_model, price=price) if price else None


def _sum_by_first_key(groups: Groups) -> dict[str, Summary]:
    """Sum the groups by the first of their dimensions."""
    found: dict[str, Summary] = {}
    for key, summary in groups.items():
        label = mask(key[0])  # old rows hold error texts of providers verbatim
        found[label] = found[label] + summary if label in found else summary
    return found


def _sort_by_cost(rows: Mapping[str, Summary]) -> dict[str, Summary]:
    order = sorted(rows, key=lambda key: (-rows[key].cost_pico, -rows[key].requests, key))
    return {key: rows[key] for key in order}


def _sum_summaries(parts: Iterable[Summary]) -> Summary:
    total = Summary()
    for part in parts:
        total = total + part
    return total
