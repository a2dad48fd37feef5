"""The model that answered is found among those that may, and recorded under a safe name."""

from decimal import Decimal

import pytest
from devflow_core.ledger import ModelShare
from devflow_core.masking import KNOWN_SECRETS
from devflow_core.routing import Alternate, Candidate
from devflow_core.served_model import recorded_name, served_model, serving_terms
from devflow_core.usage import Price

KEY = "plainKeyWithoutAPrefix-Canary_42"
PRICE = Price(prompt=Decimal(1), completion=Decimal(2))
SPARE = Alternate(model="b/spare", slug="b/spare-2026", worst_case_usd=Decimal(3))
FREE = Alternate(model="c/other:free")
ASKED = Candidate(
    model="a/asked:nitro", slug="a/asked-2026", reason="asked for", alternates=(SPARE, FREE)
)


@pytest.mark.parametrize(
    ("name", "who"),
    [
        (None, ASKED),
        ("a/asked:nitro", ASKED),
        ("a/asked-2026", ASKED),
        ("asked", ASKED),
        ("elsewhere/asked-2026:free", ASKED),
        ("b/spare", SPARE),
        ("b/spare-2026", SPARE),
        ("spare", SPARE),
        ("other", FREE),
        ("c/another", None),
    ],
)
def test_who_goes_by_a_name(name: str | None, who: Candidate | Alternate | None) -> None:
    assert served_model(ASKED, name) is who


def test_a_whole_name_wins_over_one_that_is_alike() -> None:
    alike = Alternate(model="b/asked")
    candidate = Candidate(model="a/asked", reason="", alternates=(alike,))
    assert served_model(candidate, "b/asked") is alike
    assert served_model(candidate, "asked") is candidate


def test_names_of_the_catalogue_are_kept_and_others_are_cleaned() -> None:
    with KNOWN_SECRETS.using("a/model-as-a-key", KEY):
        assert recorded_name(Alternate(model="a/model-as-a-key", price=PRICE)) == "a/model-as-a-key"
        assert recorded_name(Candidate(model=KEY, reason="")) == "[masked key in use]"
    assert recorded_name(Alternate(model="a\nb")) == "a?b"
    assert recorded_name(Alternate(model="")) == ""


def test_an_ordinary_attempt_has_no_terms() -> None:
    assert serving_terms(Candidate(model="a/b", reason="", worst_case_usd=Decimal(1))) == {}
    assert serving_terms(Candidate(model="a/b", reason="")) == {}
    priced = Candidate(
        model="a/b", reason="", worst_case_usd=Decimal(1), unpriced_reason="not asked"
    )
    assert serving_terms(priced) == {}


def test_an_attempt_says_who_may_serve_it_and_why_it_has_no_price() -> None:
    with KNOWN_SECRETS.using(KEY):
        terms = serving_terms(
            Candidate(
                model="a/b",
                reason="",
                own_worst_case_usd=Decimal(2),
                alternates=(SPARE, FREE),
                may_be_any=True,
                unpriced_reason=f"No price of {KEY}.",
            )
        )
    assert terms == {
        "own_reserved_usd": Decimal(2),
        "may_serve": (
            ModelShare(model="b/spare", reserved_usd=Decimal(3)),
            ModelShare(model="c/other:free"),
        ),
        "may_be_any": True,
        "unpriced_reason": "No price of [masked key in use].",
    }
