// Vercel's AI SDK over OpenAI's responses; nothing is stored, so its items are sent back whole.

import { createOpenAI } from "@ai-sdk/openai";
import { playWith } from "./vercel_driver.mjs";

await playWith(
  (url, apiKey, model) => createOpenAI({ baseURL: `${url}/v1`, apiKey }).responses(model),
  { openai: { store: false } },
);
