// Anthropic's SDK for TypeScript.

import Anthropic from "@anthropic-ai/sdk";
import { TOOLS, answerTool, play } from "./driver.mjs";

const offered = TOOLS.map(({ name, description, parameters }) => ({
  name,
  description,
  input_schema: parameters,
}));
const max_tokens = 1000;

class Messages {
  constructor(url, key) {
    this.messages = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 }).messages;
  }

  async whole(model, prompt, image) {
    const done = await this.messages.create({ model, max_tokens, messages: [user(prompt, image)] });
    return { text: textOf(done), costs: [done.usage.cost] };
  }

  async stream(model, prompt) {
    const pieces = [];
    const [done, usd] = await this.#streamed({ model, max_tokens, messages: [user(prompt)] }, pieces);
    return {
      text: textOf(done),
      pieces,
      role: done.role,
      finish: done.stop_reason,
      costs: [usd],
    };
  }

  // The final message, and the cost, which this SDK leaves in the event that brings it.
  async #streamed(asked, pieces) {
    let usd = null;
    const events = this.messages.stream(asked);
    events.on("text", (piece) => pieces.push(piece));
    events.on("streamEvent", (event) => {
      if (event.type === "message_delta") usd = event.usage.cost;
    });
    return [await events.finalMessage(), usd];
  }

  tools(model, prompt) {
    const ask = async (asked) => {
      const done = await this.messages.create(asked);
      return [done, done.usage.cost];
    };
    return this.#roundTrip(ask, model, prompt);
  }

  streamTools(model, prompt) {
    return this.#roundTrip((asked) => this.#streamed(asked, []), model, prompt);
  }

  async #roundTrip(ask, model, prompt) {
    const messages = [user(prompt)];
    const [first, firstUsd] = await ask({ model, max_tokens, messages, tools: offered });
    messages.push({ role: "assistant", content: first.content });
    const uses = first.content.filter((block) => block.type === "tool_use");
    const content = uses.map((use) => ({
      type: "tool_result",
      tool_use_id: use.id,
      content: answerTool(use.name, use.input),
    }));
    messages.push({ role: "user", content });
    const [last, lastUsd] = await ask({ model, max_tokens, messages, tools: offered });
    return {
      calls: uses.map((use) => [use.name, use.input]),
      text: textOf(last),
      costs: [firstUsd, lastUsd],
    };
  }

  async leave(model, prompt) {
    const asked = { model, max_tokens, messages: [user(prompt)], stream: true };
    for await (const event of await this.messages.create(asked))
      if (event.type === "content_block_delta") break;
    return {};
  }
}

function user(prompt, image) {
  const source = { type: "base64", media_type: "image/png", data: image };
  const text = { type: "text", text: prompt };
  return { role: "user", content: image ? [{ type: "image", source }, text] : prompt };
}

function textOf(message) {
  return message.content.map((block) => block.text ?? "").join("");
}

await play(Messages);
