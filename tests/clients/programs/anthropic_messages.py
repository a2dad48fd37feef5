"""Anthropic's SDK for Python."""

from anthropic import Anthropic
from driver import TOOLS, answer_tool, play

OFFERED = [
    {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
    for tool in TOOLS
]
MAX_TOKENS = 1000


class Messages:
    def __init__(self, url, key):
        self.messages = Anthropic(base_url=url, api_key=key, max_retries=0).messages

    def whole(self, model, prompt, image=None):
        done = self._ask(model=model, messages=[user(prompt, image)])
        return {"text": text_of(done), "costs": [cost(done)]}

    def stream(self, model, prompt):
        pieces = []
        done, cost_usd = self._stream(pieces, model=model, messages=[user(prompt)])
        return {
            "text": text_of(done),
            "pieces": pieces,
            "role": done.role,
            "finish": done.stop_reason,
            "costs": [cost_usd],
        }

    def _stream(self, pieces, **asked):
        """The final message, and the cost, which this SDK leaves in the event that brings it."""
        cost_usd = None
        with self.messages.stream(**asked, max_tokens=MAX_TOKENS) as events:
            for event in events:
                if event.type == "text":
                    pieces.append(event.text)
                if event.type == "message_delta":
                    cost_usd = cost(event)
            return events.get_final_message(), cost_usd

    def tools(self, model, prompt):
        return self._round_trip(self._whole, model, prompt)

    def stream_tools(self, model, prompt):
        return self._round_trip(lambda **asked: self._stream([], **asked), model, prompt)

    def _whole(self, **asked):
        done = self._ask(**asked)
        return done, cost(done)

    def _ask(self, **asked):
        return self.messages.create(**asked, max_tokens=MAX_TOKENS)

    def _round_trip(self, ask, model, prompt):
        messages = [user(prompt)]
        first, first_usd = ask(model=model, messages=messages, tools=OFFERED)
        messages.append({"role": "assistant", "content": first.content})
        uses = [block for block in first.content if block.type == "tool_use"]
        results = [
            {
                "type": "tool_result",
                "tool_use_id": use.id,
                "content": answer_tool(use.name, use.input),
            }
            for use in uses
        ]
        messages.append({"role": "user", "content": results})
        last, last_usd = ask(model=model, messages=messages, tools=OFFERED)
        return {
            "calls": [[use.name, use.input] for use in uses],
            "text": text_of(last),
            "costs": [first_usd, last_usd],
        }

    def leave(self, model, prompt):
        with self.messages.stream(
            model=model, messages=[user(prompt)], max_tokens=MAX_TOKENS
        ) as events:
            for _ in events.text_stream:
                break
        return {}


def user(prompt, image=None):
    source = {"type": "base64", "media_type": "image/png", "data": image}
    picture = {"type": "image", "source": source}
    text = {"type": "text", "text": prompt}
    return {"role": "user", "content": [picture, text] if image else prompt}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def cost(message):
    return message.usage.model_extra["cost"]


play(Messages)
