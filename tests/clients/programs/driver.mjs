// Has an SDK play every scenario, and writes down as JSON what its user sees.

import { readFileSync } from "node:fs";

export const TOOLS = [
  {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
    },
  },
  {
    name: "get_time",
    description: "The time of day.",
    parameters: { type: "object", properties: {} },
  },
];

// What a tool says; its words go back to the model.
export function answerTool(name, args) {
  return name === "get_weather" ? `Rain in ${args.city}.` : "It is noon.";
}

// Play the scenarios of the specification on stdin. An adapter is made from an address and a key.
// It has `whole` (optionally with an image), `stream`, `tools`, `streamTools` and `leave`, all of a
// model and a prompt.
export async function play(Adapter) {
  const spec = JSON.parse(readFileSync(0, "utf8"));
  const { models, prompts } = spec;
  const results = {};
  const attempt = async (name, scenario) => {
    try {
      results[name] = await scenario();
    } catch (error) {
      results[name] = {
        raised: error.constructor.name,
        status: error.status ?? error.statusCode ?? null,
        message: String(error.message).slice(0, 500),
      };
    }
  };
  const adapter = (key = "good") => new Adapter(spec.url, spec.keys[key]);
  const one = adapter();
  await attempt("text", () => one.whole(models.main, prompts.text));
  await attempt("stream", () => one.stream(models.main, prompts.text));
  await attempt("image", () => one.whole(models.main, prompts.image, spec.image));
  await attempt("tools", () => one.tools(models.main, prompts.tools));
  await attempt("stream_tools", () => one.streamTools(models.main, prompts.tools));
  for (const [name, [key, model]] of Object.entries(spec.errors))
    await attempt(name, () => adapter(key).whole(model, prompts.text));
  await attempt("cut", () => one.stream(models.cut, prompts.text));
  await attempt("leave", () => one.leave(models.slow, prompts.leave));
  process.stdout.write(JSON.stringify(results));
}
