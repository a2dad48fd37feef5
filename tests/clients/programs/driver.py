"""Has an SDK play every scenario, and writes down as JSON what its user sees."""

import json
import sys

TOOLS = [
    {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
    {
        "name": "get_time",
        "description": "The time of day.",
        "parameters": {"type": "object", "properties": {}},
    },
]


def answer_tool(name, arguments):
    """What a tool says; its words go back to the model."""
    return f"Rain in {arguments['city']}." if name == "get_weather" else "It is noon."


def play(adapter_class):
    """Play the scenarios of the specification on stdin.

    An adapter is made from an address and a key. It has `whole` (optionally with an image),
    `stream`, `tools`, `stream_tools` and `leave`, all of a model and a prompt.
    """
    spec = json.load(sys.stdin)
    results = {}

    def attempt(name, scenario):
        try:
            results[name] = scenario()
        except Exception as error:  # noqa: BLE001 - it is told to the test
            status = getattr(error, "status_code", None)
            results[name] = {
                "raised": type(error).__name__,
                "status": status,
                "message": str(error)[:500],
            }

    def adapter(key="good"):
        return adapter_class(spec["url"], spec["keys"][key])

    models, prompts = spec["models"], spec["prompts"]
    one = adapter()
    attempt("text", lambda: one.whole(models["main"], prompts["text"]))
    attempt("stream", lambda: one.stream(models["main"], prompts["text"]))
    attempt("image", lambda: one.whole(models["main"], prompts["image"], image=spec["image"]))
    attempt("tools", lambda: one.tools(models["main"], prompts["tools"]))
    attempt("stream_tools", lambda: one.stream_tools(models["main"], prompts["tools"]))
    for name, (key, model) in spec["errors"].items():
        attempt(name, lambda key=key, model=model: adapter(key).whole(model, prompts["text"]))
    attempt("cut", lambda: one.stream(models["cut"], prompts["text"]))
    attempt("leave", lambda: one.leave(models["slow"], prompts["leave"]))
    json.dump(results, sys.stdout)
