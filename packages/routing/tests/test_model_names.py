import pytest
from devflow_core.testing import EPOCH
from devflow_routing import Catalogue, ModelConfig

CATALOGUE = Catalogue(
    [
        ModelConfig(id=name, canonical_slug=slug)
        for name, slug in (
            ("anthropic/claude-sonnet-4.5", "anthropic/claude-4.5-sonnet-20250929"),
            ("anthropic/claude-opus-4.8", "anthropic/claude-4.8-opus-20260528"),
            ("anthropic/claude-opus-4.8-fast", "anthropic/claude-4.8-opus-fast-20260528"),
            ("anthropic/claude-opus-4.8:batch", "anthropic/claude-4.8-opus-20260528"),
            ("anthropic/claude-opus-4", "anthropic/claude-4-opus-20250522"),
            ("anthropic/claude-3.5-haiku", "anthropic/claude-3.5-haiku"),
            ("amazon/nova-pro-v1", "amazon/nova-pro-v1"),
            ("openai/gpt-oss-120b", "openai/gpt-oss-120b"),
            ("z-ai/glm-4.6", "z-ai/glm-4.6"),
            ("z-ai/glm-4.6v", "z-ai/glm-4.6-20251208"),
            ("acme/twin-7b", "acme/twin-7b"),
            ("other/twin-7b", "other/twin-7b"),
        )
    ],
    version="test",
    fetched_at=EPOCH,
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5"),
        ("claude-4.5-sonnet", "anthropic/claude-sonnet-4.5"),
        ("claude-opus-4-8[1m]", "anthropic/claude-opus-4.8"),
        ("claude-opus-4-20250514", "anthropic/claude-opus-4"),
        ("claude-3-5-haiku-latest", "anthropic/claude-3.5-haiku"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic/claude-sonnet-4.5"),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic/claude-sonnet-4.5"),
        ("anthropic.claude-opus-4-8-v1", "anthropic/claude-opus-4.8"),
        ("global.anthropic.claude-opus-4-8", "anthropic/claude-opus-4.8"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-8-v1:0",
         "anthropic/claude-opus-4.8"),
        ("us.amazon.nova-pro-v1:0", "amazon/nova-pro-v1"),
        ("openai.gpt-oss-120b-1:0", "openai/gpt-oss-120b"),
        ("claude-sonnet-4-5@20250929", "anthropic/claude-sonnet-4.5"),
        ("publishers/anthropic/models/claude-opus-4-8@default", "anthropic/claude-opus-4.8"),
        ("claude-opus-4-8-20260528-fast", "anthropic/claude-opus-4.8-fast"),
        ("us.anthropic.claude-opus-4-8-20260528-v1:0-fast", "anthropic/claude-opus-4.8-fast"),
        ("claude-opus-4-8-20260528:batch", "anthropic/claude-opus-4.8:batch"),
        ("us.anthropic.claude-opus-4-8-20260528-v1:0:batch", "anthropic/claude-opus-4.8:batch"),
        ("glm-4.6", "z-ai/glm-4.6"),
        ("glm-4-6", "z-ai/glm-4.6"),
        ("glm-4.6v", "z-ai/glm-4.6v"),
    ],
)  # fmt: skip
def test_a_model_is_found_by_the_names_of_other_programs_and_clouds(name: str, found: str) -> None:
    assert CATALOGUE.find(name).id == found
    assert CATALOGUE.lookup(name) == CATALOGUE.find(name)


@pytest.mark.parametrize(
    "name",
    [
        "claude-sonnet-5-4",  # not 4.5 with its numbers the other way round
        "glm-6.4",
        "claude-sonnet-4-5-fast",
        "claude-sonnet-4-5:batch",
        "claude-opus-4-8:priority",
        "twin-7b",
        "arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc123",
        "anthropic.",
        "",
    ],
)
def test_a_name_that_could_be_another_model_finds_none(name: str) -> None:
    assert CATALOGUE.lookup(name) is None
