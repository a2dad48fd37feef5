// What all providers of Vercel's AI SDK share: one model, asked whole or streamed.

import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { TOOLS, answerTool, play } from "./driver.mjs";

// Play the scenarios; `makeModel` takes an address, a key and a model's name.
export function playWith(makeModel, providerOptions) {
  return play(
    class {
      constructor(url, key) {
        this.model = (name) => makeModel(url, key, name);
      }

      #asked(name, prompt, more) {
        return { model: this.model(name), messages: [user(prompt)], maxRetries: 0, providerOptions, ...more };
      }

      async whole(name, prompt, image) {
        const done = await generateText(
          this.#asked(name, prompt, { messages: [user(prompt, image)] }),
        );
        return { text: done.text, costs: done.steps.map(cost) };
      }

      async stream(name, prompt) {
        const { done, pieces } = this.#streamed(this.#asked(name, prompt));
        for await (const part of done.fullStream) {
          if (part.type === "error") throw part.error;
          if (part.type === "text-delta") pieces.push(part.text);
        }
        return {
          text: await done.text,
          pieces,
          finish: await done.finishReason,
          costs: (await done.steps).map(cost),
        };
      }

      #streamed(asked) {
        return { done: streamText({ ...asked, onError() {} }), pieces: [] };
      }

      async tools(name, prompt) {
        const calls = [];
        const done = await generateText(this.#asked(name, prompt, withTools(calls)));
        return { calls, text: done.text, costs: done.steps.map(cost) };
      }

      async streamTools(name, prompt) {
        const calls = [];
        const { done } = this.#streamed(this.#asked(name, prompt, withTools(calls)));
        for await (const part of done.fullStream) if (part.type === "error") throw part.error;
        return { calls, text: await done.text, costs: (await done.steps).map(cost) };
      }

      async leave(name, prompt) {
        const leaving = new AbortController();
        const done = streamText(this.#asked(name, prompt, { abortSignal: leaving.signal, onError() {} }));
        for await (const part of done.fullStream)
          if (part.type === "text-delta") leaving.abort();
        return {};
      }
    },
  );
}

function withTools(calls) {
  const tools = Object.fromEntries(
    TOOLS.map(({ name, description, parameters }) => [
      name,
      tool({
        description,
        inputSchema: jsonSchema(parameters),
        execute: (args) => {
          calls.push([name, args]);
          return answerTool(name, args);
        },
      }),
    ]),
  );
  return { tools, stopWhen: stepCountIs(3) };
}

function user(prompt, image) {
  const text = { type: "text", text: prompt };
  const picture = { type: "image", image, mediaType: "image/png" };
  return { role: "user", content: image ? [text, picture] : prompt };
}

function cost(step) {
  return step.usage.raw?.cost ?? null;
}
