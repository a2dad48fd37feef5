"""`serve` and `doctor`: the gateway as a program of its own."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path

import pytest
from devflow_cli.testing import Devflow


@pytest.fixture
def served(home: Path) -> Generator[dict[str, str]]:
    """`devflow serve --sandbox` on a free port, as a child; its URL and first key."""
    child = subprocess.Popen(
        [sys.executable, "-m", "devflow_cli", "serve", "--sandbox", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
    )
    assert child.stdout is not None
    try:
        lines: list[bytes] = []
        while not lines or lines[-1].rstrip() != b"}":
            lines.append(child.stdout.readline())
            assert lines[-1], "the gateway did not start"
        yield json.loads(b"".join(lines))
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) in (0, 143, -15)
        child.stdout.close()


def test_a_request_with_the_first_key_is_answered(served: dict[str, str]) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "Say hello."}]}
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{served['url']}/v1/chat/completions",
        json.dumps(body).encode(),
        {
            "Authorization": f"Bearer {served['first_key']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
        assert json.load(reply)["choices"][0]["message"]["content"]
        assert reply.headers["X-DevFlow-Model"]
    request.remove_header("Authorization")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=60)  # noqa: S310


def test_the_doctor_examines_it(served: dict[str, str], devflow: Devflow) -> None:
    done = devflow(
        "doctor", "--url", served["url"], "--key", served["first_key"], "--claude-code", "--json"
    )
    bad = [one for one in done.document["findings"] if not one["ok"]]
    assert bad == []
    assert done.status == 0


def test_off_loopback_without_keys_it_does_not_start(online: Devflow) -> None:
    done = online("serve", "--host", "0.0.0.0", "--no-key", "--port", "0")  # noqa: S104
    assert done.status == 3


def test_a_gateway_that_is_not_there_fails_its_examination(devflow: Devflow) -> None:
    assert devflow("doctor", "--url", "http://127.0.0.1:9").status != 0
