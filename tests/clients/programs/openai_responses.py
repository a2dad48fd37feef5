"""OpenAI's SDK for Python, responses."""

import json

from driver import TOOLS, answer_tool, play
from openai import OpenAI

OFFERED = [{"type": "function", "strict": False, **tool} for tool in TOOLS]


class Responses:
    def __init__(self, url, key):
        self.responses = OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0).responses

    def whole(self, model, prompt, image=None):
        done = self.responses.create(model=model, input=[user(prompt, image)])
        return {"text": done.output_text, "costs": [cost(done)]}

    def stream(self, model, prompt):
        with self.responses.stream(model=model, input=[user(prompt)]) as events:
            pieces = [one.delta for one in events if one.type == "response.output_text.delta"]
            done = events.get_final_response()
        return {"text": done.output_text, "pieces": pieces, "costs": [cost(done)]}

    def tools(self, model, prompt):
        return self._round_trip(self.responses.create, model, prompt)

    def stream_tools(self, model, prompt):
        def ask(**asked):
            with self.responses.stream(**asked) as events:
                return events.get_final_response()

        return self._round_trip(ask, model, prompt)

    def _round_trip(self, ask, model, prompt):
        items = [user(prompt)]
        first = ask(model=model, input=items, tools=OFFERED)
        calls = []
        for item in first.output:
            items.append(item.model_dump(exclude={"parsed_arguments"}, exclude_none=True))
            if item.type != "function_call":
                continue
            arguments = json.loads(item.arguments)
            calls.append([item.name, arguments])
            words = answer_tool(item.name, arguments)
            items.append({"type": "function_call_output", "call_id": item.call_id, "output": words})
        last = ask(model=model, input=items, tools=OFFERED)
        return {"calls": calls, "text": last.output_text, "costs": [cost(first), cost(last)]}

    def leave(self, model, prompt):
        events = self.responses.create(model=model, input=[user(prompt)], stream=True)
        for event in events:
            if event.type == "response.output_text.delta":
                events.close()
                break
        return {}


def user(prompt, image=None):
    text = {"type": "input_text", "text": prompt}
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{image}"}
    return {"role": "user", "content": [text, picture] if image else [text]}


def cost(response):
    return response.usage.model_extra["cost"]


play(Responses)
