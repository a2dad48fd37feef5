import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings


def body_of(case: Any) -> Any:
    return case.body if type(case.body) in (dict, list) else None


async def test_every_route_is_described(open_site: Any) -> None:
    async with open_site() as site:
        found = (await site.client.get("/openapi.json")).json()
    described = {(path, method.upper()) for path, ways in found["paths"].items() for method in ways}
    assert described == {(one.path, one.method) for one in site.app.routes.routes}
    assert found["openapi"] == "3.1.0"


async def test_the_page_loads_nothing_and_runs_no_script(open_site: Any) -> None:
    async with open_site() as site:
        page = await site.client.get("/docs")
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/v1/messages/count_tokens" in page.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_whatever_the_description_allows_is_answered_as_described(open_site: Any) -> None:
    """Requests made from the description: no fault, no status that is not described."""
    async with open_site() as site:
        document = (await site.client.get("/openapi.json")).json()
        schema = schemathesis.openapi.from_dict(document)
        cases: list[Any] = []

        def collect(operation: Any) -> None:
            @settings(
                max_examples=15,
                database=None,
                derandomize=True,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )
            @given(case=operation.as_strategy())
            def run(case: Any) -> None:
                cases.append(case)

            run()

        for path in document["paths"]:
            for method in document["paths"][path]:
                collect(schema[path][method.upper()])
        for case in cases:
            reply = await site.client.request(
                case.method,
                case.formatted_path,
                json=body_of(case),
                params=case.query or None,
            )
            answers = document["paths"][case.path][case.method.lower()]["responses"]
            assert str(reply.status_code) in answers, (case.path, body_of(case), reply.text)
            assert reply.status_code != 500
    assert len(cases) > 100
