// Vercel's AI SDK over its provider for whatever is compatible with OpenAI.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { playWith } from "./vercel_driver.mjs";

await playWith((url, apiKey, model) =>
  createOpenAICompatible({ name: "devflow", baseURL: `${url}/v1`, apiKey, includeUsage: true })(model),
);
