// OpenRouter's SDK for TypeScript.

import { OpenRouter } from "@openrouter/sdk";
import { TOOLS, answerTool, play } from "./driver.mjs";

const offered = TOOLS.map((tool) => ({ type: "function", function: tool }));

class Chat {
  constructor(url, key) {
    const retryConfig = { strategy: "none" };
    this.client = new OpenRouter({ serverURL: `${url}/api/v1`, apiKey: key, retryConfig });
  }

  #ask(asked) {
    return this.client.chat.send({ chatRequest: asked });
  }

  async whole(model, prompt, image) {
    const done = await this.#ask({ model, messages: [user(prompt, image)] });
    return { text: done.choices[0].message.content, costs: [done.usage.cost] };
  }

  async stream(model, prompt) {
    const { pieces, finishes, costs } = await this.#collect({ model, messages: [user(prompt)] });
    return { text: pieces.join(""), pieces, finish: finishes.join(" "), costs };
  }

  async #collect(asked) {
    const found = { pieces: [], finishes: [], costs: [], calls: [] };
    for await (const event of await this.#ask({ ...asked, stream: true })) {
      if (event.error) throw new StreamError(event.error.message);
      if (event.usage) found.costs.push(event.usage.cost);
      for (const { delta, finishReason } of event.choices) {
        if (delta.content) found.pieces.push(delta.content);
        if (finishReason) found.finishes.push(finishReason);
        for (const piece of delta.toolCalls ?? []) {
          const call = (found.calls[piece.index] ??= { id: "", name: "", arguments: "" });
          call.id ||= piece.id ?? "";
          call.name += piece.function?.name ?? "";
          call.arguments += piece.function?.arguments ?? "";
        }
      }
    }
    return found;
  }

  async tools(model, prompt) {
    const messages = [user(prompt)];
    const first = await this.#ask({ model, messages, tools: offered });
    const { message } = first.choices[0];
    messages.push(message);
    const calls = [];
    for (const call of message.toolCalls) {
      const args = JSON.parse(call.function.arguments);
      calls.push([call.function.name, args]);
      const content = answerTool(call.function.name, args);
      messages.push({ role: "tool", toolCallId: call.id, content });
    }
    const last = await this.#ask({ model, messages, tools: offered });
    return {
      calls,
      text: last.choices[0].message.content,
      costs: [first.usage.cost, last.usage.cost],
    };
  }

  async streamTools(model, prompt) {
    const messages = [user(prompt)];
    const first = await this.#collect({ model, messages, tools: offered });
    const toolCalls = first.calls.map(({ id, ...call }) => ({ id, type: "function", function: call }));
    messages.push({ role: "assistant", content: null, toolCalls });
    const calls = [];
    for (const call of first.calls) {
      const args = JSON.parse(call.arguments);
      calls.push([call.name, args]);
      const content = answerTool(call.name, args);
      messages.push({ role: "tool", toolCallId: call.id, content });
    }
    const last = await this.#collect({ model, messages, tools: offered });
    return { calls, text: last.pieces.join(""), costs: [...first.costs, ...last.costs] };
  }

  async leave(model, prompt) {
    const events = await this.#ask({ model, messages: [user(prompt)], stream: true });
    for await (const event of events) if (event.choices[0]?.delta.content) break;
    return {};
  }
}

// An error event of a stream, which this SDK hands to its user as it is.
class StreamError extends Error {}

function user(prompt, image) {
  const text = { type: "text", text: prompt };
  const picture = { type: "image_url", imageUrl: { url: `data:image/png;base64,${image}` } };
  return { role: "user", content: image ? [text, picture] : prompt };
}

await play(Chat);
