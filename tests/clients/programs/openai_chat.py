"""OpenAI's SDK for Python, chat completions."""

import json

from driver import TOOLS, answer_tool, play
from openai import OpenAI

OFFERED = [{"type": "function", "function": tool} for tool in TOOLS]


class Chat:
    def __init__(self, url, key):
        self.chat = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0).chat.completions

    def whole(self, model, prompt, image=None):
        done = self.chat.create(model=model, messages=[user(prompt, image)])
        return {"text": done.choices[0].message.content, "costs": [cost(done.usage)]}

    def stream(self, model, prompt):
        with self.chat.stream(
            model=model, messages=[user(prompt)], stream_options={"include_usage": True}
        ) as events:
            pieces = [event.delta for event in events if event.type == "content.delta"]
            done = events.get_final_completion()
        choice = done.choices[0]
        return {
            "text": choice.message.content,
            "pieces": pieces,
            "role": choice.message.role,
            "finish": choice.finish_reason,
            "costs": [cost(done.usage)],
        }

    def tools(self, model, prompt):
        return self._round_trip(self.chat.create, model, prompt)

    def stream_tools(self, model, prompt):
        def ask(**asked):
            with self.chat.stream(**asked, stream_options={"include_usage": True}) as events:
                return events.get_final_completion()

        return self._round_trip(ask, model, prompt)

    def _round_trip(self, ask, model, prompt):
        messages = [user(prompt)]
        first = ask(model=model, messages=messages, tools=OFFERED)
        message = first.choices[0].message
        messages.append(message)
        calls = []
        for call in message.tool_calls:
            arguments = json.loads(call.function.arguments)
            calls.append([call.function.name, arguments])
            words = answer_tool(call.function.name, arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": words})
        last = ask(model=model, messages=messages, tools=OFFERED)
        return {
            "calls": calls,
            "text": last.choices[0].message.content,
            "costs": [cost(first.usage), cost(last.usage)],
        }

    def leave(self, model, prompt):
        events = self.chat.create(model=model, messages=[user(prompt)], stream=True)
        for event in events:
            if event.choices and event.choices[0].delta.content:
                events.close()
                break
        return {}


def user(prompt, image=None):
    text = {"type": "text", "text": prompt}
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    return {"role": "user", "content": [text, picture] if image else prompt}


def cost(usage):
    return usage.model_extra["cost"]


play(Chat)
