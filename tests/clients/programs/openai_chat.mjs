// OpenAI's SDK for TypeScript, chat completions.

import OpenAI from "openai";
import { TOOLS, answerTool, play } from "./driver.mjs";

const offered = TOOLS.map((tool) => ({ type: "function", function: tool }));

class Chat {
  constructor(url, key) {
    this.chat = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 }).chat.completions;
  }

  async whole(model, prompt, image) {
    const done = await this.chat.create({ model, messages: [user(prompt, image)] });
    return { text: done.choices[0].message.content, costs: [done.usage.cost] };
  }

  async stream(model, prompt) {
    const pieces = [];
    const events = this.#streamed({ model, messages: [user(prompt)] });
    events.on("content", (piece) => pieces.push(piece));
    const done = await events.finalChatCompletion();
    const [choice] = done.choices;
    return {
      text: choice.message.content,
      pieces,
      role: choice.message.role,
      finish: choice.finish_reason,
      costs: [done.usage.cost],
    };
  }

  #streamed(asked) {
    return this.chat.stream({ ...asked, stream_options: { include_usage: true } });
  }

  tools(model, prompt) {
    return this.#roundTrip((asked) => this.chat.create(asked), model, prompt);
  }

  streamTools(model, prompt) {
    const ask = (asked) => this.#streamed(asked).finalChatCompletion();
    return this.#roundTrip(ask, model, prompt);
  }

  async #roundTrip(ask, model, prompt) {
    const messages = [user(prompt)];
    const first = await ask({ model, messages, tools: offered });
    const { message } = first.choices[0];
    messages.push(message);
    const calls = [];
    for (const call of message.tool_calls) {
      const args = JSON.parse(call.function.arguments);
      calls.push([call.function.name, args]);
      const content = answerTool(call.function.name, args);
      messages.push({ role: "tool", tool_call_id: call.id, content });
    }
    const last = await ask({ model, messages, tools: offered });
    return {
      calls,
      text: last.choices[0].message.content,
      costs: [first.usage.cost, last.usage.cost],
    };
  }

  async leave(model, prompt) {
    const events = await this.chat.create({ model, messages: [user(prompt)], stream: true });
    for await (const event of events) if (event.choices[0]?.delta.content) break;
    return {};
  }
}

function user(prompt, image) {
  const text = { type: "text", text: prompt };
  const picture = { type: "image_url", image_url: { url: `data:image/png;base64,${image}` } };
  return { role: "user", content: image ? [text, picture] : prompt };
}

await play(Chat);
