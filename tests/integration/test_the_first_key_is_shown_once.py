"""A fresh gateway shows the key that it makes, once, however many processes serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from integration.served import serve


@pytest.mark.parametrize("workers", ["1", "3"])
def test_the_first_start_shows_a_key_that_works_and_the_second_none(
    tmp_path: Path, workers: str
) -> None:
    with serve(tmp_path, "--workers", workers) as served:
        key = served.first_key
        assert key is not None
        listed = json.loads(served.devflow("keys", "list", "--json").out)["keys"]
        assert [one["name"] for one in listed] == ["first"]
        for _ in range(8):  # also a worker that has not made it
            assert served.ask("GET", "/v1/models?limit=1", key=key).status == 200
    with serve(tmp_path, "--workers", workers) as served:
        assert served.first_key is None
        assert served.ask("GET", "/v1/models?limit=1", key=key).status == 200


def test_no_key_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    with serve(tmp_path, "--no-key", "--workers", "2") as served:
        assert served.first_key is None
        assert json.loads(served.devflow("keys", "list", "--json").out)["keys"] == []
