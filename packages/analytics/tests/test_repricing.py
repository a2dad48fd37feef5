from datetime import timedelta
from decimal import Decimal

import pytest
from devflow_analytics import Turn, turns_of, whatif
from devflow_analytics.cache_simulation import CacheRules, rules_of, simulate
from devflow_core.attribution import Attribution
from devflow_core.testing import EPOCH, a_price, an_attempt, an_entry
from devflow_core.usage import KnownCost, Price, Usage
from hypothesis import given
from hypothesis import strategies as st

EXPLICIT = CacheRules(kind="explicit", min_tokens=1024)
IMPLICIT = CacheRules(kind="implicit", min_tokens=1024)
PRICES: dict[str, Price] = {
    "anthropic/claude-sonnet-4.5": a_price(),
    "x/uncached": a_price(cache_read=None, cache_write=None),
}


def turn(at_s: float, usage: Usage, thread: str = "main") -> Turn:
    return Turn(
        thread=thread, started_at=EPOCH + timedelta(seconds=at_s), model="x/recorded", usage=usage
    )


def prompts(*counts: int, gap_s: float = 60) -> list[Turn]:
    """A conversation at a model that does not cache: prompts of so many tokens."""
    return [turn(n * gap_s, Usage(input_tokens=count)) for n, count in enumerate(counts)]


def test_a_growing_conversation_reads_what_it_wrote() -> None:
    first, second, third = simulate(prompts(2_000, 3_000, 5_000), EXPLICIT)
    assert first == Usage(cache_write_tokens=2_000)
    assert second == Usage(cache_read_tokens=2_000, cache_write_tokens=1_000)
    assert third == Usage(cache_read_tokens=3_000, cache_write_tokens=2_000)


def test_an_implicit_cache_writes_at_the_price_of_input() -> None:
    first, second = simulate(prompts(2_000, 3_000), IMPLICIT)
    assert first == Usage(input_tokens=2_000)
    assert second == Usage(cache_read_tokens=2_000, input_tokens=1_000)


def test_a_prefix_is_forgotten_after_its_time() -> None:
    _, late = simulate(prompts(2_000, 3_000, gap_s=301), IMPLICIT)
    assert late == Usage(input_tokens=3_000)
    _, cached = simulate(
        prompts(2_000, 3_000, gap_s=3_600), CacheRules(kind="implicit", ttl_s=3_600)
    )
    assert cached.cache_read_tokens == 2_000


def test_what_the_client_kept_for_an_hour_is_kept_for_an_hour() -> None:
    cached = Usage(cache_write_tokens=2_000, cache_write_1h_tokens=2_000)
    first, second = simulate([turn(0, cached), turn(1_800, cached)], EXPLICIT)
    assert first.cache_write_1h_tokens == 2_000
    assert second.cache_read_tokens == 2_000


def test_a_short_prompt_is_not_cached() -> None:
    assert simulate(prompts(1_000, 1_010), EXPLICIT)[1] == Usage(input_tokens=1_010)


def test_a_prefix_reported_as_changed_is_not_read_elsewhere() -> None:
    turns = [turn(0, Usage(cache_write_tokens=2_000)), turn(60, Usage(cache_write_tokens=3_000))]
    assert simulate(turns, IMPLICIT)[1] == Usage(input_tokens=3_000)


def test_a_compacted_conversation_begins_anew() -> None:
    assert simulate(prompts(9_000, 3_000), IMPLICIT)[1].cache_read_tokens == 0


def test_threads_do_not_read_each_other() -> None:
    usage = Usage(input_tokens=2_000)
    assert simulate([turn(0, usage, "a"), turn(1, usage, "b")], IMPLICIT)[1] == usage


counts = st.integers(min_value=0, max_value=50_000)
usages = st.builds(
    Usage, input_tokens=counts, cache_read_tokens=counts, cache_write_tokens=counts,
    output_tokens=counts, reasoning_tokens=counts,
)  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 9_000), usages, st.sampled_from("ab")), max_size=8),
    st.sampled_from([EXPLICIT, IMPLICIT, CacheRules(kind="none")]),
)
def test_no_token_is_lost_or_invented(
    recorded: list[tuple[int, Usage, str]], rules: CacheRules
) -> None:
    turns = [turn(at, usage, thread) for at, usage, thread in sorted(recorded, key=lambda r: r[0])]
    for one, counted in zip(turns, simulate(turns, rules), strict=True):
        assert counted.prompt_tokens == one.usage.prompt_tokens
        assert counted.completion_tokens == one.usage.completion_tokens
        assert min(counted.input_tokens, counted.cache_read_tokens) >= 0


@pytest.mark.parametrize(
    ("model", "kind", "least"),
    [
        ("anthropic/claude-sonnet-4.5", "explicit", 1024),
        ("~anthropic/claude-haiku-4.5", "explicit", 4096),
        ("deepseek/deepseek-v3.2", "implicit", 64),
        ("google/gemini-2.5-pro", "implicit", 4096),
        ("openai/gpt-5-mini", "implicit", 1024),
    ],
)
def test_each_maker_has_its_rules(model: str, kind: str, least: int) -> None:
    rules = rules_of(model, a_price())
    assert (rules.kind, rules.min_tokens) == (kind, least)
    assert f"{least:,} tokens" in rules.describe()


def test_without_a_price_for_cached_input_there_is_no_cache() -> None:
    for price in (a_price(cache_read=None), a_price(cache_read=a_price().prompt)):
        rules = rules_of("anthropic/claude-sonnet-4.5", price)
        assert rules.kind == "none"
        assert "whole prompt" in rules.describe()


def test_a_repriced_record_lists_its_unknowns() -> None:
    turns = [
        Turn(
            thread="m",
            started_at=one.started_at,
            model="x/recorded",
            usage=one.usage,
            cost_usd=Decimal("0.01"),
        )
        for one in prompts(2_000, 3_000)
    ]
    result = whatif(
        reversed(turns),
        ["anthropic/claude-sonnet-4.5", "x/uncached", "nobody/knows"],
        price_of=PRICES.get,
        window_of=lambda model: 2_500 if model == "x/uncached" else None,
    ).as_json()
    assert result["turns"] == 2
    assert result["recorded"] == {
        "models": ["x/recorded"],
        "cost_usd": "0.02",
        "is_complete": True,
        "missing": [],
    }
    cached, uncached, unknown = result["models"]
    # 3000 written at 1.25e-6, 2000 read at 1e-7
    assert cached["cost_usd"] == "0.00395"
    assert cached["difference_usd"] == "-0.01605"
    assert uncached["cost_usd"] == "0.005"
    assert "1 of 2 prompts are longer than its window of 2,500 tokens" in uncached["notes"]
    assert unknown["cost_usd"] is None
    assert unknown["difference_usd"] is None
    assert any("tokenizers" in one for one in result["unknowns"])


def test_a_record_without_costs_is_priced_at_its_own_models() -> None:
    one = Turn(thread="m", started_at=EPOCH, model="x/uncached", usage=Usage(input_tokens=1_000))
    assert whatif([one], [], price_of=PRICES.get).recorded == KnownCost(usd=Decimal("0.001"))
    strange = Turn(
        thread="m", started_at=EPOCH, model="nobody/knows", usage=Usage(input_tokens=1_000)
    )
    result = whatif([one, strange], ["x/uncached"], price_of=PRICES.get)
    assert str(result.recorded) == "≥ $0.0010 (1 reply of nobody/knows)"
    assert result.as_json()["models"][0]["difference_usd"] is None


def test_the_answered_rows_of_a_ledger_are_turns() -> None:
    attributed = Attribution(session_id="s", agent="main")
    failed = an_attempt(outcome="failed", cost_usd=Decimal("0.5"))
    entries = [
        an_entry(attempts=(failed, an_attempt()), attribution=attributed),
        an_entry(),
        an_entry(attempts=()),
        an_entry(outcome="failed"),
        an_entry(attempts=(an_attempt(usage=Usage()),)),
    ]
    first, second = turns_of(entries)
    assert first.thread == "s/main"
    assert first.cost_usd == Decimal("0.5002")
    assert second.thread == "req_1"


def test_a_model_of_two_names_is_listed_once_at_what_was_recorded() -> None:
    names = {"sonnet-20250929": "maker/sonnet"}
    only_turn = Turn(
        thread="t",
        started_at=EPOCH,
        model="sonnet-20250929",
        usage=Usage(input_tokens=1000, output_tokens=10),
        cost_usd=Decimal("0.5"),
    )
    result = whatif(
        [only_turn],
        ("sonnet-20250929", "maker/sonnet"),
        price_of=lambda _: a_price(),
        id_of=lambda name: names.get(name, name),
    )
    (only,) = result.alternatives
    assert (only.model, only.cost_usd) == ("maker/sonnet", Decimal("0.5"))
