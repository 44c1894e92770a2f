// Queries the gateway with clients as they come: the audit of GraphQL over HTTP, urql, Apollo Client and Relay, with the
// cache configurations of docs/graphql.md. Ends with "N passed, M failed".
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { codegen } from "@graphql-codegen/core";
import * as typescript from "@graphql-codegen/typescript";
import { Client, fetchExchange } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { parse } from "graphql";
import { auditServer } from "graphql-http";
import relay from "relay-runtime";
import { check, finish } from "./check.mjs";

const { ROOT, GATEWAY, TOKEN } = process.env;
const URL_OF_GRAPHQL = `${GATEWAY}/graphql`;
const headers = { authorization: `Bearer ${TOKEN}` };
const token = async (query) => (await (await fetch(`${GATEWAY}/dev/token?${query}`)).json()).access_token;
const write = await token("sub=service&scope=activity:write+activity:admin");

/** The requests that clients made: methods and statuses. */
let requests = [];
async function counted(url, init = {}) {
  const response = await fetch(url, init);
  requests.push(`${init.method ?? "GET"} ${response.status}`);
  return response;
}

async function record(ws, events) {
  const answer = await fetch(`${GATEWAY}/api/v1/workspaces/${ws}/activity`, {
    method: "POST",
    headers: { authorization: `Bearer ${write}` },
    body: JSON.stringify(events),
  });
  assert.equal(answer.status, 200, await answer.text());
}

// Two projects whose activities have the same ids, and whose people and todos change their names.
const projects = ["cache-a", "cache-b"];
for (const ws of projects) {
  const maker = { actor_type: "user", actor_id: "user-demo" };
  const names = ["Ada", "Ada Lovelace", "Countess"];
  await record(ws, [
    { ...maker, id: "made", action: "workspace.created", details: { name: ws, organization: "org-cache" } },
    { ...maker, id: "joined", action: "member.added", details: { user: "user-demo", role: "owner" } },
    ...names.flatMap((name, n) => [
      {
        ...maker, id: `order-${n}`, issue_id: "issue-1", action: "issue.created", actor: { name: `${name} of ${ws}` },
        details: { title: `Title ${n} of ${ws}`, identifier: "I-1", list: "list-1", list_title: `List ${n}` },
        affected: { id: "user-else", name: `Else ${n}` },
      },
      { ...maker, id: `said-${n}`, issue_id: "issue-1", action: "comment.created", details: { comment: "c-1", text: `${n}` } },
    ]),
  ]);
}

const NODE = `id uid activityId category html createdAt createdBy { id name } affectedBy { id name } company { id name }
  project { id name } todo { id title } todoList { id title } comment { id text } recordedBy { source principal }`;
const LIST = `query List($company: String, $after: String) {
  activityList(companyId: $company, first: 7, after: $after) {
    activities { ${NODE} }
    pageInfo { hasNextPage endCursor }
    totalCount
  }
}`;

/** Reads all pages with `query`, which takes variables. */
async function pages(query) {
  const lists = [];
  for (let after = null; lists.length < 9; after = lists.at(-1).pageInfo.endCursor) {
    const { activityList } = await query({ company: "org-cache", after });
    lists.push(activityList);
    if (!activityList.pageInfo.hasNextPage) return lists;
  }
  throw new Error("the pages do not end");
}

/** The pages as they come over the wire. */
const wire = await pages(async (variables) => {
  const response = await fetch(URL_OF_GRAPHQL, { method: "POST", headers, body: JSON.stringify({ query: LIST, variables }) });
  return (await response.json()).data;
});
assert.equal(wire.flatMap(({ activities }) => activities).length, 16);
assert.ok(wire.length > 1);

/** What was read, without what clients add to objects. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).filter(([name]) => !name.startsWith("__"));
  return Object.fromEntries(members.map(([name, member]) => [name, plain(member)]));
}

/** A block of JavaScript in docs/graphql.md, as a module: the one that has `part`. */
async function block(part) {
  const blocks = readFileSync(`${ROOT}/docs/graphql.md`, "utf8").split("```js\n").slice(1);
  const found = blocks.map((text) => text.split("```")[0]).find((text) => text.includes(part));
  const file = new URL(`guide-${createHash("sha256").update(part).digest("hex").slice(0, 8)}.mjs`, import.meta.url);
  writeFileSync(file, found);
  return import(file);
}

await check("audit of GraphQL over HTTP", async () => {
  const fetchFn = (url, init = {}) => fetch(url, { ...init, headers: { ...init.headers, ...headers } });
  const results = await auditServer({ url: URL_OF_GRAPHQL, fetchFn });
  const faults = results.filter(({ status }) => status !== "ok").map(({ name }) => name);
  assert.ok(results.length > 60);
  // curl sends no content type of JSON by itself.
  assert.deepEqual(faults, ["SHOULD respond with 4xx status code if content-type is not supplied on POST requests"]);
});

const SHORT = "query Short($company: String) { activityList(companyId: $company, first: 1) { totalCount } }";

await check("urql as it comes, and with persisted queries", async () => {
  for (const [exchanges, expected] of [
    [[], ["GET 200"]],
    [[persistedExchange({ preferGetForPersistedQueries: true })], ["GET 400", "GET 200"]],
    [[persistedExchange({ preferGetForPersistedQueries: false })], ["POST 400", "POST 200"]],
  ]) {
    requests = [];
    const client = new Client({
      url: URL_OF_GRAPHQL, exchanges: [...exchanges, fetchExchange], fetch: counted, fetchOptions: { headers },
    });
    const { data, error } = await client.query(SHORT, { company: "org-cache" }).toPromise();
    assert.equal(error, undefined);
    assert.equal(data.activityList.totalCount, 16);
    assert.deepEqual(requests, expected);
    // Another query goes without its hash.
    requests = [];
    const again = await client.query(SHORT.replace("first: 1", "first: 2"), { company: "org-cache" }).toPromise();
    assert.equal(again.error, undefined);
    assert.equal(requests.length, 1);
  }
});

await check("Apollo Client as it comes, and with persisted queries", async () => {
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  for (const [links, expected] of [
    [[], ["POST 200"]],
    [[new PersistedQueryLink({ sha256, useGETForHashedQueries: true })], ["GET 400", "POST 200"]],
    [[new PersistedQueryLink({ sha256 })], ["POST 400", "POST 200"]],
  ]) {
    requests = [];
    const http = new HttpLink({ uri: URL_OF_GRAPHQL, headers, fetch: counted });
    const link = [...links, http].reduceRight((next, first) => first.concat(next));
    const client = new ApolloClient({ link, cache: new InMemoryCache(), clientAwareness: { name: "stock", version: "1" } });
    const { data } = await client.query({ query: gql(SHORT), variables: { company: "org-cache" } });
    assert.equal(data.activityList.totalCount, 16);
    assert.deepEqual(requests, expected);
  }
});

await check("GraphQL Code Generator makes types of the schema", async () => {
  const guide = readFileSync(`${ROOT}/docs/graphql.md`, "utf8");
  const [, file, scalars] = guide.match(/`schema: "(.*)"`, and `config: \{ scalars: (.*) \}`/);
  const written = await codegen({
    schema: parse(readFileSync(`${ROOT}/${file}`, "utf8")),
    documents: [],
    filename: "types.ts",
    config: { scalars: JSON.parse(scalars.replace(/(\w+):/g, '"$1":')) },
    plugins: [{ typescript: {} }],
    pluginMap: { typescript },
  });
  assert.match(written, /DateTime: \{ input: string; output: string; \}/);
});

await check("Apollo's cache shows history as the wire does", async () => {
  const { cache } = await block("@apollo/client");
  const client = new ApolloClient({ cache, link: new HttpLink({ uri: URL_OF_GRAPHQL, headers }) });
  const query = gql(LIST);
  await pages(async (variables) => (await client.query({ query, variables })).data);
  // All from the cache, after the last page was written.
  const cached = await pages(async (variables) => cache.readQuery({ query, variables }));
  assert.deepEqual(plain(cached), wire);
});

await check("Graphcache shows history as the wire does", async () => {
  const { exchange } = await block("@urql/exchange-graphcache");
  const client = new Client({ url: URL_OF_GRAPHQL, exchanges: [exchange, fetchExchange], fetchOptions: { headers } });
  const read = (requestPolicy) => async (variables) => {
    const { data, error } = await client.query(LIST, variables, { requestPolicy }).toPromise();
    assert.equal(error, undefined);
    return data;
  };
  await pages(read("network-only"));
  assert.deepEqual(plain(await pages(read("cache-only"))), wire);
});

/** The fields of a document as Relay's compiler writes them; a field is a name, or a name, a type and its fields. */
function selections(fields) {
  return fields.map((field) => {
    const [name, concreteType, inner, args = null] = [field].flat();
    const common = { alias: null, args, name, storageKey: null };
    if (!concreteType) return { ...common, kind: "ScalarField" };
    const plural = name === "activities";
    return { ...common, kind: "LinkedField", concreteType, plural, selections: selections(inner) };
  });
}

await check("Relay's store shows history as the wire does", async () => {
  const { getDataID } = await block("getDataID");
  const person = ["id", "name"];
  const titled = ["id", "title"];
  const variable = (name, of) => ({ kind: "Variable", name, variableName: of });
  const list = selections([[
    "activityList",
    "ActivityList",
    [
      ["activities", "Activity", [
        "id", "uid", "activityId", "category", "html", "createdAt", ["createdBy", "User", person], ["affectedBy", "User", person],
        ["company", "Company", person], ["project", "Project", person], ["todo", "Todo", titled],
        ["todoList", "TodoList", titled], ["comment", "Comment", ["id", "text"]],
        ["recordedBy", "RecordedBy", ["source", "principal"]],
      ]],
      ["pageInfo", "PageInfo", ["hasNextPage", "endCursor"]],
      "totalCount",
    ],
    [variable("after", "after"), variable("companyId", "company"), { kind: "Literal", name: "first", value: 7 }],
  ]]);
  const argumentDefinitions = ["company", "after"].map((name) => ({ defaultValue: null, kind: "LocalArgument", name }));
  const request = {
    kind: "Request",
    fragment: { argumentDefinitions, kind: "Fragment", metadata: null, name: "List", selections: list, type: "Query", abstractKey: null },
    operation: { argumentDefinitions, kind: "Operation", name: "List", selections: list },
    params: { cacheID: "list", id: null, metadata: {}, name: "List", operationKind: "query", text: LIST },
  };
  const network = relay.Network.create(async ({ text: query }, variables) => {
    const response = await fetch(URL_OF_GRAPHQL, { method: "POST", headers, body: JSON.stringify({ query, variables }) });
    return response.json();
  });
  const store = new relay.Store(new relay.RecordSource());
  const environment = new relay.Environment({ network, store, getDataID });
  const kept = [];
  await pages(async (variables) => {
    kept.push(environment.retain(relay.createOperationDescriptor(request, variables)));
    return relay.fetchQuery(environment, request, variables).toPromise();
  });
  const stored = await pages(async (variables) => {
    const descriptor = relay.createOperationDescriptor(request, variables);
    return environment.lookup(descriptor.fragment).data;
  });
  assert.deepEqual(plain(stored), wire);
});

finish();
