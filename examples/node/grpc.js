// Search from a picture over gRPC: npm ci && node grpc.js PICTURE EDIT

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const definition = loadSync(["scot/v1/search.proto", "scot/v1/index.proto"], {
  includeDirs: [fileURLToPath(new URL("../../protos", import.meta.url))],
  longs: Number,
  defaults: true,
  oneofs: true,
});
const { SearchService } = grpc.loadPackageDefinition(definition).scot.v1;

const serviceConfig = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{ service: "scot.v1.SearchService" }, { service: "scot.v1.IndexService" }],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.2s",
        maxBackoff: "1s",
        backoffMultiplier: 2.5,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};
const client = new SearchService(process.env.SCOT_ADDRESS ?? "localhost:9000", grpc.credentials.createInsecure(), {
  "grpc.service_config": JSON.stringify(serviceConfig),
  "grpc.max_receive_message_length": 64 * 2 ** 20,
});
const metadata = new grpc.Metadata();
if (process.env.SCOT_API_KEY) metadata.set("authorization", `Bearer ${process.env.SCOT_API_KEY}`);

/** One call with a deadline. Rejects with gRPC's error: `code` is the status, `details` the service's sentence. */
function call(method, request) {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + 10_000 };
    client[method](request, metadata, options, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

/** A field of a payload (google.protobuf.Value) as JavaScript has it. */
function plain(value) {
  if (value.kind === "listValue") return value.listValue.values.map(plain);
  if (value.kind === "structValue") return payloadOf(value.structValue);
  return value.kind === "nullValue" ? null : value[value.kind];
}
const payloadOf = ({ fields }) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, plain(value)]));

const [picture, edit] = process.argv.slice(2);
const image = readFileSync(picture);
try {
  const response = await call("ComposeSearch", {
    reference: { image },
    edits: [{ text: edit }],
    filter: { must: [{ field: "price", range: { lte: 30 } }] },
    limit: 5,
  });
  for (const hit of response.hits) console.log(hit.itemId, hit.score.toFixed(3), payloadOf(hit.payload).caption);

  // Many queries on one stream: the answers come in order; a refused query is answered with its error.
  const stream = client.ComposeSearchStream(metadata, { deadline: Date.now() + 10_000 });
  stream.write({ reference: { image }, edits: [{ text: edit }], limit: 1 });
  stream.write({ edits: [{ text: "" }] });
  stream.end();
  for await (const answer of stream) console.log(answer.error ? answer.error.message : answer.hits[0].itemId);
} catch (error) {
  console.error(grpc.status[error.code] ?? error, error.details);
  process.exitCode = 1;
} finally {
  client.close();
}
