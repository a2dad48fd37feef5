"""What the provider says has failed is booked at nothing; where nobody says so, at the most."""

from pathlib import Path

import pytest
from devflow_gateway import wiring
from devflow_openrouter.testing import error_body, http_reply
from integration.upstream_door import PATHS, Script, failed, open_door

WIRES = list(PATHS)


def _redirect(status: int) -> Script:
    return (http_reply(b"", status, headers={"location": "http://127.0.0.1:9/"}),)


CASES: dict[str, tuple[Script, set[str]]] = {
    **{
        f"{status} in its own form": (failed(error_body(status, "Too slow."), status), {"void"})
        for status in (408, 504, 524)
    },
    "504 of a gateway": (failed(b"<html>Time-out</html>", 504, "text/html"), {"estimated"}),
    "524 of the edge": (failed(b"error code: 524", 524, "text/plain"), {"estimated"}),
    "504 of whoever writes JSON": (failed(b'{"status":504}', 504), {"estimated"}),
    **{f"{status}": (_redirect(status), {"void"}) for status in (301, 302, 307, 308)},
    "303": (_redirect(303), {"estimated"}),
}


@pytest.mark.parametrize(("kind", "way"), [(kind, n) for n, kind in enumerate(CASES)])
async def test_it_is_booked_by_what_is_known(tmp_path: Path, kind: str, way: int) -> None:
    script, statuses = CASES[kind]
    async with open_door(tmp_path, script) as door:
        reply = await door.send(WIRES[way % len(WIRES)], stream=way % 2 == 0)
        assert len(door.upstream.bodies) == 2
        (entry,) = wiring.make_store(door.settings).entries()
    assert reply.status_code in (502, 504)
    assert {one.cost_status for one in entry.attempts} == statuses
    assert (entry.cost_usd == 0) == (statuses == {"void"})


async def test_a_key_of_such_a_request_may_be_sent_again(tmp_path: Path) -> None:
    script, _ = CASES["504 in its own form"]
    async with open_door(tmp_path, script) as door:
        for _ in range(2):
            await door.send("openai_chat", stream=False, headers={"idempotency-key": "k"})
        assert len(door.upstream.bodies) == 4  # carried out anew
