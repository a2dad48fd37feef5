// OpenAI's SDK for TypeScript, responses.

import OpenAI from "openai";
import { TOOLS, answerTool, play } from "./driver.mjs";

const offered = TOOLS.map((tool) => ({ type: "function", strict: false, ...tool }));

class Responses {
  constructor(url, key) {
    this.responses = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 }).responses;
  }

  async whole(model, prompt, image) {
    const done = await this.responses.create({ model, input: [user(prompt, image)] });
    return { text: done.output_text, costs: [done.usage.cost] };
  }

  async stream(model, prompt) {
    const pieces = [];
    const events = this.responses.stream({ model, input: [user(prompt)] });
    events.on("response.output_text.delta", (event) => pieces.push(event.delta));
    const done = await events.finalResponse();
    return { text: done.output_text, pieces, costs: [done.usage.cost] };
  }

  tools(model, prompt) {
    return this.#roundTrip((asked) => this.responses.create(asked), model, prompt);
  }

  streamTools(model, prompt) {
    const ask = (asked) => this.responses.stream(asked).finalResponse();
    return this.#roundTrip(ask, model, prompt);
  }

  async #roundTrip(ask, model, prompt) {
    const input = [user(prompt)];
    const first = await ask({ model, input, tools: offered });
    const calls = [];
    for (const { parsed_arguments, ...item } of first.output) {
      input.push(item);
      if (item.type !== "function_call") continue;
      const args = JSON.parse(item.arguments);
      calls.push([item.name, args]);
      const output = answerTool(item.name, args);
      input.push({ type: "function_call_output", call_id: item.call_id, output });
    }
    const last = await ask({ model, input, tools: offered });
    return { calls, text: last.output_text, costs: [first.usage.cost, last.usage.cost] };
  }

  async leave(model, prompt) {
    const events = await this.responses.create({ model, input: [user(prompt)], stream: true });
    for await (const event of events) if (event.type === "response.output_text.delta") break;
    return {};
  }
}

function user(prompt, image) {
  const text = { type: "input_text", text: prompt };
  const picture = { type: "input_image", image_url: `data:image/png;base64,${image}` };
  return { role: "user", content: image ? [text, picture] : [text] };
}

await play(Responses);
