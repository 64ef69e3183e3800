// The official OpenAI package for JavaScript as a client: prints what it got as one JSON object.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "hello from javascript" }];
const found = {};

found.whole = await client.chat.completions.create({ model: "small", messages });

found.chunks = [];
const options = { include_usage: true };
const stream = await client.chat.completions.create({ model: "small", messages, stream: true, stream_options: options });
for await (const chunk of stream) found.chunks.push(chunk);

const tools = [
  {
    type: "function",
    function: { name: "look_up", parameters: { type: "object", properties: { a: { type: "string" } } } },
  },
];
found.called = await client.chat.completions.create({
  model: "small",
  messages: [{ role: "user", content: "use it [[fakeup: tool=look_up]]" }],
  tools,
});

found.response = await client.responses.create({ model: "small", input: "hello in responses" });

found.events = [];
const events = await client.responses.create({ model: "small", input: "hello in responses, streamed", stream: true });
for await (const event of events) found.events.push(event);

const helper = client.responses.stream({ model: "small", input: "hello in the helper" });
for await (const event of helper) void event;
found.final = await helper.finalResponse();

found.vectors = await client.embeddings.create({ model: "embed", input: ["one", "two"] });
found.floats = await client.embeddings.create({ model: "embed", input: ["one", "two"], encoding_format: "float" });

found.errors = [];
for (const broken of [
  () => client.chat.completions.create({ model: "smal", messages }),
  () => client.responses.create({ model: "small", input: "x", previous_response_id: "resp_1" }),
  () => client.embeddings.create({ model: "embed", input: ["a", ""] }),
  () => new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 }).models.list(),
]) {
  try {
    await broken();
    found.errors.push(null);
  } catch (error) {
    found.errors.push({ name: error.constructor.name, status: error.status, code: error.code, param: error.param });
  }
}
console.log(JSON.stringify(found));
