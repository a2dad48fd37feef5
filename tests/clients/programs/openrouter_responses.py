"""OpenRouter's SDK for Python, responses."""

import json

from driver import TOOLS, answer_tool, play
from openrouter import OpenRouter
from openrouter.utils import BackoffStrategy, RetryConfig

OFFERED = [{"type": "function", "strict": False, **tool} for tool in TOOLS]

NO_RETRY = RetryConfig("none", BackoffStrategy(1, 1, 1, 1), retry_connection_errors=False)


class Responses:
    def __init__(self, url, key):
        client = OpenRouter(server_url=f"{url}/api/v1", api_key=key, retry_config=NO_RETRY)
        self.send = client.responses.send

    def whole(self, model, prompt, image=None):
        done = self.send(model=model, input=[user(prompt, image)])
        return {"text": text_of(done), "costs": [done.usage.cost]}

    def stream(self, model, prompt):
        pieces = []
        with self.send(model=model, input=[user(prompt)], stream=True) as events:
            done = read(events, pieces)
        return {"text": text_of(done), "pieces": pieces, "costs": [done.usage.cost]}

    def tools(self, model, prompt):
        return self._round_trip(self.send, model, prompt)

    def stream_tools(self, model, prompt):
        def ask(**asked):
            with self.send(**asked, stream=True) as events:
                return read(events, [])

        return self._round_trip(ask, model, prompt)

    def _round_trip(self, ask, model, prompt):
        items = [user(prompt)]
        first = ask(model=model, input=items, tools=OFFERED)
        calls = []
        for item in first.output:
            items.append(item.model_dump(by_alias=True, exclude_none=True))
            if item.type != "function_call":
                continue
            arguments = json.loads(item.arguments)
            calls.append([item.name, arguments])
            words = answer_tool(item.name, arguments)
            items.append({"type": "function_call_output", "call_id": item.call_id, "output": words})
        last = ask(model=model, input=items, tools=OFFERED)
        costs = [first.usage.cost, last.usage.cost]
        return {"calls": calls, "text": text_of(last), "costs": costs}

    def leave(self, model, prompt):
        with self.send(model=model, input=[user(prompt)], stream=True) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    break
        return {}


class StreamError(Exception):
    """A failure in a stream, which this SDK hands to its user as an event."""


def read(events, pieces):
    """Read a stream to its end; one event that the SDK does not know is too many."""
    for event in events:
        if event.type == "response.output_text.delta":
            pieces.append(event.delta)
        elif event.type == "response.failed":
            raise StreamError(event.response.error.message)
        elif event.type == "response.completed":
            return event.response
        assert event.type != "UNKNOWN", event.raw
    raise AssertionError("it has no end")


def text_of(response):
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    return "".join(part.text for part in parts)


def user(prompt, image=None):
    text = {"type": "input_text", "text": prompt}
    picture = {
        "type": "input_image",
        "detail": "auto",
        "image_url": f"data:image/png;base64,{image}",
    }
    return {"role": "user", "content": [text, picture] if image else prompt}


play(Responses)
