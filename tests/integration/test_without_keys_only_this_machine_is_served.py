"""`--no-key` is for the user of this machine, not for whom a proxy lets through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.served import Served, read_end, serve, start

FORWARDED = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("home"), "--no-key") as running:
        yield running


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["gw.example.com", "192.168.1.5", "*"])
def test_a_foreign_name_without_keys_does_not_start(
    tmp_path: Path, name: str, workers: str
) -> None:
    child = start(tmp_path, "--no-key", "--workers", workers, DEVFLOW_ALLOWED_HOSTS=name)
    ended = read_end(child)
    said = ended.err
    assert ended.status == 3
    assert name in said
    assert "allowed_hosts" in said
    assert "--no-key" in said


def test_names_of_this_machine_may_be_allowed(tmp_path: Path) -> None:
    names = "localhost,127.0.0.2,[::1]"
    with serve(tmp_path, "--no-key", DEVFLOW_ALLOWED_HOSTS=names) as served:
        reply = served.ask("GET", "/v1/models?limit=1", None, {"Host": f"127.0.0.2:{served.port}"})
        assert reply.status == 200


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via",
     "True-Client-IP", "CF-Connecting-IP", "x-forwarded-for", "X-Client-IP"],
)  # fmt: skip
def test_what_a_proxy_forwards_has_no_rights(served: Served, header: str) -> None:
    for value in ("203.0.113.9", "127.0.0.1", "::1", "for=127.0.0.1"):
        for method, path in (("GET", "/v1/models"), ("PATCH", "/system/nodes/main")):
            reply = served.ask(method, path, b'{"model":null}', {header: value})
            assert reply.status == 401, (header, value, path)
            assert "proxy" in reply.error
        assert served.ask("GET", "/healthz", None, {header: value}).status == 200


def test_what_a_proxy_forwards_comes_in_with_a_client_key(served: Served) -> None:
    key = served.make_key("behind-the-proxy", "--route", "read")
    reply = served.ask("GET", "/v1/models?limit=1", None, FORWARDED, key=key)
    assert reply.status == 200
    reply = served.ask("PATCH", "/system/nodes/main", b"{}", FORWARDED, key=key)
    assert reply.status == 403


def test_the_user_of_this_machine_is_served(served: Served) -> None:
    assert served.ask("GET", "/v1/models?limit=1").status == 200
    assert served.ask("PATCH", "/system/nodes/main", b'{"model":null}').status == 200
