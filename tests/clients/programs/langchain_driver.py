"""What both of LangChain's chat models share."""

from driver import TOOLS, answer_tool
from langchain_core.messages import HumanMessage, ToolMessage

OFFERED = [{"type": "function", "function": tool} for tool in TOOLS]


class LangChain:
    """Plays the scenarios with the model that `make` returns."""

    def make(self, model):
        raise NotImplementedError

    def cost(self, message):
        raise NotImplementedError

    def finish(self, message):
        raise NotImplementedError

    def whole(self, model, prompt, image=None):
        done = self.make(model).invoke([user(prompt, image)])
        return {"text": done.text, "costs": [self.cost(done)]}

    def stream(self, model, prompt):
        pieces, done = self._collect(self.make(model), [user(prompt)])
        return {
            "text": done.text,
            "pieces": pieces,
            "finish": self.finish(done),
            "costs": [self.cost(done)],
        }

    def _collect(self, model, messages):
        chunks = list(model.stream(messages))
        done = chunks[0]
        for chunk in chunks[1:]:
            done += chunk
        return [chunk.text for chunk in chunks if chunk.text], done

    def tools(self, model, prompt):
        return self._round_trip(lambda bound, messages: bound.invoke(messages), model, prompt)

    def stream_tools(self, model, prompt):
        return self._round_trip(
            lambda bound, messages: self._collect(bound, messages)[1], model, prompt
        )

    def _round_trip(self, ask, model, prompt):
        bound = self.make(model).bind_tools(OFFERED)
        messages = [user(prompt)]
        first = ask(bound, messages)
        messages.append(first)
        for call in first.tool_calls:
            words = answer_tool(call["name"], call["args"])
            messages.append(ToolMessage(words, tool_call_id=call["id"]))
        last = ask(bound, messages)
        return {
            "calls": [[call["name"], call["args"]] for call in first.tool_calls],
            "text": last.text,
            "costs": [self.cost(first), self.cost(last)],
        }

    def leave(self, model, prompt):
        chunks = self.make(model).stream([user(prompt)])
        for chunk in chunks:
            if chunk.text:
                chunks.close()
                break
        return {}


def user(prompt, image=None):
    text = {"type": "text", "text": prompt}
    picture = {"type": "image", "base64": image, "mime_type": "image/png"}
    return HumanMessage([text, picture] if image else prompt)
