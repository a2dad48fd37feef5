"""Laws of what stands in for a Claude that the list does not have, over invented lists."""

from collections.abc import Collection
from typing import Any

import pytest
from devflow_core.errors import UnknownModel
from devflow_core.scope import is_in_scope
from devflow_core.testing import EPOCH
from devflow_openrouter.models.catalogue import load_shipped_catalogue, parse_catalogue
from devflow_routing import Catalogue, ModelConfig
from hypothesis import given
from hypothesis import strategies as st

FAMILIES = ("opus", "sonnet", "haiku")
SPELLINGS = (
    "claude-{0}-{1}",
    "anthropic/claude-{0}-{1}",
    "claude-{1}-{0}-20270101",
    "claude-{0}-{1}@20270101",
    "claude-{0}-{1}[1m]",
    "us.anthropic.claude-{0}-{1}-20270101-v1:0",
    "arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-{0}-{1}-v1:0",
)
SCOPES = (None, ("anthropic/*",), ("*opus*", "*-3"), ("*haiku-1*",), ("z-ai/*",))


def catalogue_of(ids: Collection[str]) -> Catalogue:
    price = {"prompt": "0.000001", "completion": "0.000001"}
    rows: list[dict[str, Any]] = [{"id": one, "pricing": price} for one in sorted(ids)]
    return parse_catalogue({"data": rows}, fetched_at=EPOCH)


versions = st.tuples(st.integers(1, 12), st.integers(0, 12)).map(
    lambda one: f"{one[0]}.{one[1]}" if one[1] else str(one[0])
)
ids = st.builds("{}/claude-{}-{}{}".format, st.sampled_from(["anthropic", "z-ai"]),
    st.sampled_from(FAMILIES), versions, st.sampled_from(["", "", "", ":batch", "-fast"]),
)  # fmt: skip


def version_of(model: str) -> tuple[int, ...]:
    return tuple(int(part) for part in model.rpartition("-")[2].split("."))


@given(
    st.sets(ids, min_size=1, max_size=12).map(catalogue_of),
    st.sampled_from(FAMILIES),
    st.sampled_from(SPELLINGS),
    st.sampled_from(SCOPES),
)
def test_it_is_the_newest_of_the_family_within_the_scope(
    catalogue: Catalogue, family: str, spelling: str, scope: tuple[str, ...] | None
) -> None:
    name = spelling.format(family, "40-7")
    prefix = f"anthropic/claude-{family}-"
    kin = [
        one.id
        for one in catalogue.models
        if one.id.startswith(prefix) and not one.id.endswith((":batch", "-fast"))
    ]
    allowed = [one for one in kin if is_in_scope(scope, one)]
    best = max(allowed or kin, key=version_of, default=None)
    if best is None:
        with pytest.raises(UnknownModel):
            catalogue.find_or_newest(name, scope)
    else:
        assert catalogue.find_or_newest(name, scope).id == best


SHIPPED = load_shipped_catalogue()


@given(st.sampled_from(SHIPPED.models), st.sampled_from(SCOPES))
def test_a_model_that_is_listed_stays_itself(
    model: ModelConfig, scope: tuple[str, ...] | None
) -> None:
    assert SHIPPED.find_or_newest(model.id, scope).id == model.id
