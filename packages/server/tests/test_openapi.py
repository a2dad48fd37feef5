import re
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

MOST_REQUESTS = 1_000
"""Of one kind, in `make test-laws`: each is a request over HTTP, or several."""
PARTS = 4
"""So that several processes share the routes."""


def bounded(described: Any) -> Any:
    """The same with few items in an array and few fields that are not described: quickly made."""
    if isinstance(described, list):
        return [bounded(one) for one in cast("list[Any]", described)]
    if not isinstance(described, dict):
        return described
    found = {key: bounded(one) for key, one in cast("dict[str, Any]", described).items()}
    if found.get("type") == "array":
        found["maxItems"] = 3
    elif isinstance(found.get("properties"), dict):
        found["maxProperties"] = len(found["properties"]) + 1
    return found


def same_requests(document: Any) -> dict[str, list[tuple[str, str]]]:
    """The ways in, by what may be sent to them: a request made for one is one for all of its row.

    So two names of one route cost the making of requests once.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for path, ways in document["paths"].items():
        for method, one in ways.items():
            sent = repr((method, one.get("parameters"), one.get("requestBody")))
            groups.setdefault(sent, []).append((path, method))
    return groups


def body_of(case: Any) -> Any:
    return case.body if type(case.body) in (dict, list) else None


async def test_every_route_is_described(open_server: Any) -> None:
    async with open_server() as server:
        found = (await server.client.get("/openapi.json")).json()
    described = {(path, method.upper()) for path, ways in found["paths"].items() for method in ways}
    assert described == {(one.path, one.method) for one in server.app.routes.routes}
    assert found["openapi"] == "3.1.0"


async def test_the_page_loads_nothing_and_runs_no_script(open_server: Any) -> None:
    async with open_server() as server:
        page = await server.client.get("/docs")
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "/v1/messages/count_tokens" in page.text


@pytest.mark.laws
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("part", range(PARTS))
async def test_whatever_the_description_allows_is_answered_as_described(
    open_server: Any, part: int
) -> None:
    """Requests made from the description: no fault, no status that is not described."""
    async with open_server() as server:
        document = (await server.client.get("/openapi.json")).json()
        schema = schemathesis.openapi.from_dict(bounded(document))
        cases: list[Any] = []

        def collect(operation: Any) -> None:
            @settings(
                max_examples=min(settings().max_examples, MOST_REQUESTS),
                database=None,
                phases=[Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )
            @given(case=operation.as_strategy())
            def run(case: Any) -> None:
                cases.append(case)

            run()

        groups = list(same_requests(document).values())[part::PARTS]
        for ways in groups:
            first = len(cases)
            collect(schema[ways[0][0]][ways[0][1].upper()])
            for case in cases[first:]:
                for path, method in ways:
                    reply = await server.client.request(
                        method,
                        case.formatted_path if path == case.path else path,
                        json=body_of(case),
                        params=case.query or None,
                    )
                    responses = document["paths"][path][method]["responses"]
                    detail = (path, body_of(case), reply.text)
                    assert str(reply.status_code) in responses, detail
                    assert reply.status_code != 500
    assert len(cases) > min(settings().max_examples, MOST_REQUESTS)
