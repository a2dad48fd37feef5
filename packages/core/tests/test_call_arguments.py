"""A call may be booked on another project: a folder, or a name."""

from pathlib import Path

import pytest
from devflow_core.attribution import Attribution
from devflow_core.call_arguments import MAX_TAGS, apply_arguments
from devflow_core.errors import InvalidRequest
from devflow_core.request import ChatRequest
from devflow_core.routing import SelectionCriteria


def _labels(project: str | Path) -> Attribution:
    given = Attribution(project="old", branch="old", commit="old", session_id="s")
    return apply_arguments(ChatRequest(attribution=given), project=project).attribution


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_the_repository_in_it(tmp_path: Path, kind: type[str | Path]) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/feature\n")
    assert _labels(kind(tmp_path)) == Attribution(
        project=str(tmp_path), branch="feature", session_id="s"
    )


def test_a_name_has_no_branch() -> None:
    assert _labels("shop") == Attribution(project="shop", session_id="s")


def test_a_folder_that_is_mistyped_is_no_name(tmp_path: Path) -> None:
    for project in (tmp_path / "nowhere", str(tmp_path / "nowhere"), "./nowhere", Path("nowhere")):
        with pytest.raises(InvalidRequest, match="nowhere"):
            _labels(project)


def test_tags_of_the_request_and_of_the_call_are_counted_together() -> None:
    own = {f"own{number}": "x" for number in range(MAX_TAGS - 1)}
    request = ChatRequest(attribution=Attribution(tags=own))
    for given in ({"new": "y"}, {"own0": "y", "new": "y"}):
        assert apply_arguments(request, tags=given).attribution.tags == {**own, **given}
    with pytest.raises(InvalidRequest, match=r"at most 16 .* 15 already"):
        apply_arguments(request, tags={"new": "y", "newer": "y"})


def test_criteria_of_a_call_leave_to_the_requests_what_they_do_not_say() -> None:
    own = SelectionCriteria(floor_model="a/one", cost_priority=0.9)
    request = ChatRequest(criteria=own)
    given = SelectionCriteria(cost_priority=0.1)
    assert apply_arguments(request, criteria=given).criteria == SelectionCriteria(
        floor_model="a/one", cost_priority=0.1
    )
    assert apply_arguments(ChatRequest(), criteria=given).criteria == given
    assert apply_arguments(request).criteria == own
