// Vercel's AI SDK over its provider for Anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import { playWith } from "./vercel_driver.mjs";

await playWith((url, apiKey, model) => createAnthropic({ baseURL: `${url}/v1`, apiKey })(model));
