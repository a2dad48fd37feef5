"""OpenRouter's SDK for Python."""

import json

from driver import TOOLS, answer_tool, play
from openrouter import OpenRouter
from openrouter.utils import BackoffStrategy, RetryConfig

OFFERED = [{"type": "function", "function": tool} for tool in TOOLS]

NO_RETRY = RetryConfig("none", BackoffStrategy(1, 1, 1, 1), retry_connection_errors=False)


class Chat:
    def __init__(self, url, key):
        self.client = OpenRouter(server_url=f"{url}/api/v1", api_key=key, retry_config=NO_RETRY)

    def whole(self, model, prompt, image=None):
        done = self.client.chat.send(model=model, messages=[user(prompt, image)])
        return {"text": done.choices[0].message.content, "costs": [done.usage.cost]}

    def stream(self, model, prompt):
        pieces, costs, finishes = [], [], []
        with self.client.chat.send(model=model, messages=[user(prompt)], stream=True) as events:
            for event in events:
                if event.error is not None:
                    raise StreamError(event.error.message)
                if event.usage:
                    costs.append(event.usage.cost)
                for choice in event.choices:
                    pieces += [choice.delta.content] if choice.delta.content else []
                    finishes += [choice.finish_reason] if choice.finish_reason else []
        return {
            "text": "".join(pieces),
            "pieces": pieces,
            "finish": " ".join(finishes),
            "costs": costs,
        }

    def tools(self, model, prompt):
        messages = [user(prompt)]
        first = self.client.chat.send(model=model, messages=messages, tools=OFFERED)
        message = first.choices[0].message
        messages.append(message)
        calls = []
        for call in message.tool_calls:
            arguments = json.loads(call.function.arguments)
            calls.append([call.function.name, arguments])
            words = answer_tool(call.function.name, arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": words})
        last = self.client.chat.send(model=model, messages=messages, tools=OFFERED)
        return {
            "calls": calls,
            "text": last.choices[0].message.content,
            "costs": [first.usage.cost, last.usage.cost],
        }

    def stream_tools(self, model, prompt):
        messages = [user(prompt)]
        texts, calls, costs = self._collect(model, messages)
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        shown = []
        for call in calls:
            name = call["function"]["name"]
            arguments = json.loads(call["function"]["arguments"])
            shown.append([name, arguments])
            words = answer_tool(name, arguments)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": words})
        texts, _, last_costs = self._collect(model, messages)
        return {"calls": shown, "text": "".join(texts), "costs": costs + last_costs}

    def _collect(self, model, messages):
        texts, calls, costs = [], {}, []
        with self.client.chat.send(
            model=model, messages=messages, tools=OFFERED, stream=True
        ) as events:
            for event in events:
                costs += [event.usage.cost] if event.usage else []
                for choice in event.choices:
                    texts += [choice.delta.content] if choice.delta.content else []
                    for piece in choice.delta.tool_calls or ():
                        function = {"name": "", "arguments": ""}
                        empty = {"id": piece.id, "type": "function", "function": function}
                        call = calls.setdefault(int(piece.index), empty)
                        call["function"]["name"] += piece.function.name or ""
                        call["function"]["arguments"] += piece.function.arguments or ""
        return texts, [call for _, call in sorted(calls.items())], costs

    def leave(self, model, prompt):
        with self.client.chat.send(model=model, messages=[user(prompt)], stream=True) as events:
            for event in events:
                if event.choices and event.choices[0].delta.content:
                    break
        return {}


class StreamError(Exception):
    """An error event of a stream, which this SDK hands to its user as it is."""


def user(prompt, image=None):
    text = {"type": "text", "text": prompt}
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    return {"role": "user", "content": [text, picture] if image else prompt}


play(Chat)
