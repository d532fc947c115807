// Search from a picture over HTTP with nothing but Node, and save the best hit: node http.js PICTURE EDIT

import { openAsBlob } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";

const url = process.env.SCOT_URL ?? "http://localhost:8080";
const key = process.env.SCOT_API_KEY;

/** One call. Throws the sentence of the service, which begins with the name of the field if one is wrong. */
async function call(path, { headers, ...options } = {}) {
  const authorization = key && { authorization: `Bearer ${key}` };
  const response = await fetch(url + path, {
    ...options,
    headers: { ...headers, ...authorization },
    signal: AbortSignal.timeout(10_000),
  });
  if (response.ok) return response;
  const problem = await response.json(); // RFC 9457
  throw new Error(`${problem.status} ${problem.grpc_status} ${problem.detail}`);
}

/** The server-sent events of a response: their data, until the event `end`. Throws at the event `error`. */
async function* events(response) {
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const { event, data } = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/)));
      if (event === "error") throw new Error(JSON.parse(data).detail);
      if (data && event !== "end") yield JSON.parse(data);
    }
  }
}

const [picture, edit] = process.argv.slice(2);
const query = { edits: [{ text: edit }], filter: { must: [{ field: "price", range: { lte: 30 } }] }, limit: 5 };
try {
  const form = new FormData();
  form.set("request", JSON.stringify(query));
  form.set("reference.image", await openAsBlob(picture), "picture");
  const { hits } = await (await call("/v1/compose-search", { method: "POST", body: form })).json();
  for (const hit of hits) console.log(hit.itemId, hit.score.toFixed(3), hit.payload.caption);

  const thumbnail = await call(`/v1/pictures?item_id=${encodeURIComponent(hits[0].itemId)}`);
  await writeFile("best.webp", Buffer.from(await thumbnail.arrayBuffer()));

  // Many queries in one request: the answers come in order; a refused query is answered with its error.
  const image = await readFile(picture, "base64");
  const body = JSON.stringify({ requests: [{ ...query, reference: { image } }, { edits: [{ text: "" }] }] });
  const headers = { "content-type": "application/json" };
  const response = await call("/v1/compose-search-stream", { method: "POST", headers, body });
  for await (const answer of events(response)) console.log(answer.error ? answer.error.message : answer.hits[0].itemId);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
