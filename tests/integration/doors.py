"""Shared by tests at the door: the installed command, a separate home, and listening hosts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

from devflow_cli.testing import run_command

PATIENCE_S = 120.0
KEY = "sk-or-v1-CANARY0000OPENROUTER111122223333"
"""The user's key, which only the sandbox may receive."""
PROGRAM = Path(sys.executable).with_name("devflow")


@dataclass(kw_only=True)
class Installation:
    """A user's home and a cloned folder in which commands run."""

    home: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for one in (self.home, self.folder):
            one.mkdir(parents=True, exist_ok=True)

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of a command."""
        own = {"HOME": str(self.home), "PATH": os.environ["PATH"], "NO_COLOR": "1"}
        return {**own, **self.environment, **more}

    def configure(self, text: str) -> None:
        """Write the user's settings file."""
        file = self.home / ".config" / "devflow" / "devflow.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def clone(self, text: str) -> Path:
        """Write the settings file that came with the cloned folder."""
        file = self.folder / "devflow.toml"
        file.write_text(text)
        return file

    def run(
        self, *arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed command in the cloned folder."""
        environment = self.environ(**(environ or {}))
        done = run_command(*arguments, folder=self.folder, environment=environment, stdin=stdin)
        return subprocess.CompletedProcess(arguments, done.status, done.out, done.err)

    @property
    def data_dir(self) -> Path:
        """DevFlow's data folder, which is another with an upstream on this machine."""
        usual = self.home / ".local" / "share" / "devflow"
        return usual / "sandbox" if "OPENROUTER_BASE_URL" in self.environment else usual


def run_program(
    argv: Sequence[str],
    installation: Installation,
    *,
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run any program in the cloned folder; its output is text."""
    done = subprocess.run(
        argv,
        input=stdin,
        cwd=installation.folder,
        env=installation.environ(**(environ or {})),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


class Catcher:
    """A host on loopback that records every request, and answers each with the same JSON."""

    def __init__(self, answer: bytes = b"{}", status: int = 200) -> None:
        self.requests: list[str] = []
        catcher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode(errors="replace")
                catcher.requests.append(f"{self.requestline}\n{self.headers}\n{body}")
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_CONNECT = do_PUT = do_GET  # noqa: N815 - the names are the library's

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def base_url(self) -> str:
        """Its address as a setting names it."""
        return f"http://127.0.0.1:{self._server.server_port}/api/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class SilentHost:
    """A host on loopback that accepts connections and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def is_called(self) -> bool:
        """Whether any client has connected so far."""
        self._socket.setblocking(False)
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> SilentHost:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
