"""Installs the gateways that DevFlow is compared with under `.peers/`, and nothing elsewhere.

TensorZero and LiteLLM come from their wheels, Portkey's gateway and claude-code-router from npm,
nginx from Debian's package, which is unpacked and not installed; all in pinned versions but nginx,
which is Debian's. One that cannot be had is left out by name, with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".peers"
PINNED = {
    "nginx": "nginx",
    "tensorzero": "tensorzero==2026.6.0",
    "claude-code-router": "@musistudio/claude-code-router@2.0.0",
    "portkey": "@portkey-ai/gateway@1.15.2",
    "litellm": "litellm[proxy]==1.108.7",
}
BESIDE = {"tensorzero": ("openai==3.57.0",)}
"""What a wheel is started with and does not bring along."""


def install() -> dict[str, str]:
    """Install the pinned peers under `.peers/`; return who cannot be had, and why."""
    PEERS.mkdir(exist_ok=True)
    absent: dict[str, str] = {}
    for name in PINNED:
        try:
            _INSTALLERS[name](name)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            said = getattr(error, "stderr", None) or b""
            last = said.decode(errors="replace").strip().splitlines()[-1:] or [str(error)]
            absent[name] = f"{PINNED[name]} could not be installed: {last[0]}"
    return absent


def run_uv(*words: str | Path) -> None:
    """Run uv, which `make install` has put somewhere.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    subprocess.run([uv, *map(str, words)], check=True, capture_output=True)


def _install_wheel(name: str) -> None:
    python = PEERS / name / "bin/python"
    if not python.is_file():
        run_uv("venv", "-q", PEERS / name)
    run_uv("pip", "install", "-q", "-p", python, PINNED[name], *BESIDE.get(name, ()))


def _install_npm(name: str) -> None:
    package, _, version = PINNED[name].rpartition("@")
    manifest = PEERS / "node_modules" / package / "package.json"
    if manifest.is_file() and json.loads(manifest.read_text())["version"] == version:
        return
    command = ["npm", "install", "--ignore-scripts", "--prefix", str(PEERS), PINNED[name]]
    subprocess.run(command, check=True, capture_output=True)


def _install_nginx(name: str) -> None:
    home = PEERS / name
    if shutil.which(name) or (home / "usr/sbin/nginx").is_file():
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", name], cwd=folder, check=True, capture_output=True)
        package = next(Path(folder).glob("*.deb"))
        subprocess.run(["dpkg", "-x", str(package), str(home)], check=True, capture_output=True)


_INSTALLERS: Mapping[str, Callable[[str], None]] = {
    "nginx": _install_nginx,
    "tensorzero": _install_wheel,
    "claude-code-router": _install_npm,
    "portkey": _install_npm,
    "litellm": _install_wheel,
}
