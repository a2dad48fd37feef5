"""Starts the gateways that DevFlow is compared with, where they can be had."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import asks
from gateways import MODELS, Absent, Gateway, Start, find_free_port, routes_below, run_gateway
from peer_install import PEERS


@contextlib.contextmanager
def nginx(base_url: str) -> Generator[Gateway]:
    """Run a plain reverse proxy, as the lower bound."""
    binary = shutil.which("nginx") or PEERS / "nginx/usr/sbin/nginx"
    if not Path(binary).is_file():
        raise Absent("nginx is not installed")
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;"
            "events { worker_connections 8192; }"
            f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;"
            "client_max_body_size 32m; client_body_buffer_size 2m; keepalive_requests 1000000;"
            f"upstream u {{ server {urlsplit(base_url).netloc}; keepalive 2048; }}"
            f"server {{ listen 127.0.0.1:{port} backlog=2048; location / {{ proxy_pass http://u;"
            'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }'
        )
        start = Start(command=[binary, "-c", config, "-p", folder], port=port)
        with run_gateway("nginx", start, routes_below("/api/v1")) as gateway:
            yield gateway


_TENSORZERO = """
import sys, time, urllib.parse, openai, tensorzero
client = openai.OpenAI(api_key="none")
tensorzero.patch_openai_client(client, config_file=sys.argv[1], async_setup=False)
print(client.base_url.port, flush=True)
time.sleep(1e6)
"""


@contextlib.contextmanager
def tensorzero(base_url: str) -> Generator[Gateway]:
    """Run the gateway that TensorZero's wheel holds, without its observability."""
    python = PEERS / "tensorzero/bin/python"
    if not python.is_file():
        raise Absent("tensorzero is not installed in .peers")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "tensorzero.toml"
        models = "".join(
            f'[models."{name}"]\nrouting = ["up"]\n[models."{name}".providers.up]\n'
            f'type = "openai"\nmodel_name = "{name}"\napi_base = "{base_url}/"\n'
            'api_key_location = "none"\n'
            for name in MODELS
        )
        config.write_text(f"[gateway]\nobservability.enabled = false\n{models}")
        # its log goes to the standard output too, so only errors may be said before the port
        start = Start(
            command=[python, "-W", "ignore", "-c", _TENSORZERO, config],
            port=None,
            environment={"RUST_LOG": "error"},
        )
        routes = {asks.CHAT: "/openai/v1/chat/completions"}
        name = "tensorzero::model_name::{}"
        with run_gateway("tensorzero", start, routes, model=name) as gateway:
            yield gateway


def _find_script(path: str) -> Path:
    script = PEERS / "node_modules" / path
    if shutil.which("node") is None:
        raise Absent("there is no Node.js")
    if not script.is_file():
        raise Absent(f"{path} is not installed in .peers")
    return script


@contextlib.contextmanager
def portkey(base_url: str) -> Generator[Gateway]:
    """Run Portkey's gateway."""
    script, port = _find_script("@portkey-ai/gateway/build/start-server.js"), find_free_port()
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": base_url,
        "authorization": "Bearer sk-bench",
    }
    start = Start(command=["node", script, f"--port={port}", "--headless"], port=port)
    routes = {asks.CHAT: "/v1/chat/completions"}
    with run_gateway("portkey", start, routes, headers=headers) as gateway:
        yield gateway


@contextlib.contextmanager
def claude_code_router(base_url: str) -> Generator[Gateway]:
    """Run claude-code-router, which answers Anthropic's dialect from a chat upstream."""
    script, port = _find_script("@musistudio/claude-code-router/dist/cli.js"), find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / ".claude-code-router" / "config.json"
        config.parent.mkdir()
        provider = {
            "name": "bench",
            "api_base_url": f"{base_url}{asks.CHAT}",
            "api_key": "sk-bench",
            "models": MODELS,
        }
        settings = {
            "PORT": port,
            "HOST": "127.0.0.1",
            "LOG": False,
            "NON_INTERACTIVE_MODE": True,
            "Providers": [provider],
            "Router": {"default": "bench,bench/model"},
        }
        config.write_text(json.dumps(settings))
        command = ["node", script, "start"]
        start = Start(command=command, port=port, environment={"HOME": folder})
        routes = {asks.MESSAGES: "/v1/messages"}
        with run_gateway("claude-code-router", start, routes, model="bench,{}") as gateway:
            yield gateway


@contextlib.contextmanager
def litellm(base_url: str) -> Generator[Gateway]:
    """Run LiteLLM's proxy, without a key and without a database."""
    binary = PEERS / "litellm/bin/litellm"
    if not binary.is_file():
        raise Absent("litellm is not installed in .peers")
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        rows = "".join(
            f"  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n"
            f"      api_base: {base_url}\n      api_key: sk-bench\n"
            for name in MODELS
        )
        config.write_text(f"model_list:\n{rows}")
        start = Start(
            command=[binary, "--config", config, "--port", str(port), "--host", "127.0.0.1"],
            port=port,
            environment={
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
                "NO_COLOR": "1",
            },
        )
        with run_gateway("litellm", start, routes_below("/v1")) as gateway:
            yield gateway


MAKERS: Mapping[str, Callable[[str], contextlib.AbstractContextManager[Gateway]]] = {
    "nginx": nginx,
    "tensorzero": tensorzero,
    "claude-code-router": claude_code_router,
    "portkey": portkey,
    "litellm": litellm,
}


def start_peers(
    stack: contextlib.ExitStack, base_url: str, names: Sequence[str], absent: dict[str, str]
) -> list[Gateway]:
    """Start the peers of these names; note in `absent` why one cannot be had."""
    started: list[Gateway] = []
    for name in names:
        try:
            started.append(stack.enter_context(MAKERS[name](base_url)))
        except Absent as reason:
            absent.setdefault(name, str(reason))
    return started
