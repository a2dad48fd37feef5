// Vercel's AI SDK over OpenRouter's own provider.

import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { playWith } from "./vercel_driver.mjs";

await playWith((url, apiKey, model) => createOpenRouter({ baseURL: `${url}/api/v1`, apiKey })(model));
