// Subscribes to the gateway with graphql-ws. Ends with "N passed, M failed".
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { check, finish } from "./check.mjs";
import { startNodeExample, startPageExample } from "./examples.mjs";

const { ROOT, GATEWAY, TOKEN } = process.env;
const SOCKET = `${GATEWAY.replace("http", "ws")}/graphql`;
const read = (path) => readFileSync(`${ROOT}/${path}`, "utf8");
const token = async (query) => (await (await fetch(`${GATEWAY}/dev/token?${query}`)).json()).access_token;
const write = await token("sub=service&scope=activity:write+activity:admin");
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function until(what, holds, seconds = 30) {
  for (const end = Date.now() + seconds * 1000; !holds(); await sleep(20)) {
    assert.ok(Date.now() < end, `${what} after ${seconds} s`);
  }
}

async function record(ws, events) {
  const answer = await fetch(`${GATEWAY}/api/v1/workspaces/${ws}/activity`, {
    method: "POST",
    headers: { authorization: `Bearer ${write}` },
    body: JSON.stringify(events.map((event) => ({ actor_type: "user", actor_id: "user-demo", ...event }))),
  });
  assert.equal(answer.status, 200, await answer.text());
}

const comment = (id) => ({ id, action: "comment.created", issue_id: "issue-demo-1", details: { text: "Soon." } });
const demo = { webSocketImpl: WebSocket, url: SOCKET, connectionParams: { authorization: `Bearer ${TOKEN}` } };

await check("subscription of the reference", async () => {
  const client = createClient(demo);
  const got = [];
  let begun = false;
  client.on("pong", (received, payload) => (begun ||= Boolean(payload?.cursor)));
  const query = read("tests/reference/subscribe_to_activity.graphql");
  client.subscribe(
    { query, variables: { companyId: "org-demo", projectId: "ws-demo" } },
    { next: (result) => got.push(result), error: (error) => got.push(error), complete() {} },
  );
  await until("the subscription begins", () => begun);
  await record("ws-demo", [{ ...comment("live-1"), actor: { name: "Ada", email: "ada@example.com" } }]);
  await until("the update arrives", () => got.length > 0);
  const { mutation, node } = got[0].data.subscribeToActivity;
  assert.equal(mutation, "ACTIVITY_CREATED");
  assert.ok(Number.isFinite(new Date(node.createdAt).getTime()));
  assert.deepEqual(node, {
    id: "ws-demo/live-1",
    category: "CREATE_COMMENT",
    html: "<strong>Ada</strong> commented: <em>Soon.</em>",
    createdAt: node.createdAt,
    createdBy: { id: "user-demo", name: "Ada", email: "ada@example.com" },
    project: { id: "ws-demo", name: "Demo" },
  });
  await client.dispose();
});

await check("queries, errors and completed subscriptions", async () => {
  const client = createClient(demo);
  const ask = (query, variables) => client.iterate({ query, variables }).next();
  const { value } = await ask("{ activityList(projectId: \"ws-demo\") { totalCount } }");
  assert.equal(value.data.activityList.totalCount, 13);
  const subscription = "subscription($p: String) { subscribeToActivity(projectId: $p) { mutation } }";
  const refused = async (query, variables) => ask(query, variables).then(() => assert.fail("the operation succeeded"), ([error]) => error);
  assert.equal((await refused(subscription, { p: "nothing" })).extensions.code, "NOT_FOUND");
  const { extensions } = await refused(subscription, { p: "" });
  assert.equal(extensions.code, "BAD_USER_INPUT");
  assert.ok(extensions.requestId);
  assert.equal((await refused("subscription { nothing }")).extensions.code, "BAD_USER_INPUT");
  let updates = 0;
  let begun = false;
  client.on("pong", (received, payload) => (begun ||= Boolean(payload?.cursor)));
  const end = client.subscribe(
    { query: subscription, variables: { p: "ws-demo" } },
    { next: () => (updates += 1), error: assert.fail, complete() {} },
  );
  await until("the subscription begins", () => begun);
  end();
  await sleep(300);
  await record("ws-demo", [comment("live-2")]);
  await sleep(500);
  assert.equal(updates, 0);
  await client.dispose();
});

await check("an invalid token is an error, without a reconnect", async () => {
  let connections = 0;
  const client = createClient({
    ...demo,
    connectionParams: { authorization: "Bearer x.y.z" },
    shouldRetry: () => true,
    on: { opened: () => (connections += 1) },
  });
  const [error] = await client.iterate({ query: "{ __typename }" }).next().catch((errors) => errors);
  assert.equal(error.extensions.code, "UNAUTHENTICATED");
  assert.match(error.message, /no JSON Web Token/);
  assert.equal(connections, 1);
  const other = new WebSocket(SOCKET, "graphql-ws");
  const refused = await new Promise((resolve) => other.on("error", resolve));
  assert.match(refused.message, /400/);
});

await check("a large frame, or an id in use, does not bring the client back", async () => {
  let connections = 0;
  const ids = ["one", "one", "two"];
  const client = createClient({
    ...demo,
    generateID: () => ids.shift() ?? "more",
    retryAttempts: Infinity,
    shouldRetry: () => true,
    retryWait: async () => {},
    on: { opened: () => (connections += 1) },
  });
  const query = "subscription { subscribeToActivity(projectId: \"ws-demo\") { mutation } }";
  const begun = new Promise((resolve) => client.on("pong", (received, payload) => payload?.cursor && resolve()));
  client.subscribe({ query }, { next() {}, error() {}, complete() {} });
  await begun;
  const [error] = await client.iterate({ query }).next().catch((errors) => errors);
  assert.deepEqual([error.extensions.code, error.extensions.field], ["BAD_USER_INPUT", "id"]);
  assert.equal(connections, 1);
  const large = await client.iterate({ query: `{ __typename } #${"x".repeat(40_000)}` }).next().catch((event) => event);
  assert.equal(large.code, 1009);
  await sleep(500);
  assert.equal(connections, 1);
  await client.dispose();
});

await check("many messages at once are all handled", async () => {
  const socket = new WebSocket(SOCKET, "graphql-transport-ws");
  const received = [];
  socket.on("message", (data) => received.push(JSON.parse(data).type));
  await new Promise((resolve) => socket.on("open", resolve));
  socket.send(JSON.stringify({ type: "connection_init", payload: demo.connectionParams }));
  await until("the connection is acknowledged", () => received.length === 1);
  for (let n = 0; n < 40; n += 1) socket.send(JSON.stringify({ id: `${n}`, type: "complete" }));
  socket.send(JSON.stringify({ type: "ping" }));
  await until("the ping is answered", () => received.at(-1) === "pong");
  socket.close();
});

for (const [name, start] of Object.entries({ Node: startNodeExample, "a browser": startPageExample })) {
  await check(`example for ${name} in docs/live.md`, async () => {
    const example = start(TOKEN);
    const printed = () => example.lines.includes("<strong>user-demo</strong> commented: <em>Soon.</em>");
    try {
      for (let n = 0; !printed(); n += 1) {
        assert.ok(n < 40, example.lines.join("\n"));
        await record("ws-demo", [comment(`${name}-${n}`.replace(" ", "-"))]);
        await sleep(250);
      }
    } finally {
      await example.stop();
    }
  });
}

await check("200 connections of 5 users, 10 workspaces, 2,000 activities, connections cut at random", async () => {
  const started = Date.now();
  const workspaces = Array.from({ length: 10 }, (_, n) => `crowd-${n}`);
  const role = {
    owner: () => "owner",
    first: (n) => (n < 5 ? "member" : null),
    guest: () => "client",
    second: (n) => (n >= 5 ? "member" : null),
    admin: (n) => (n % 9 === 0 ? "admin" : null),
  };
  for (const [n, ws] of workspaces.entries()) {
    const members = Object.keys(role).filter((user) => role[user](n));
    await record(ws, [
      { id: "created", action: "workspace.created", details: { name: ws, organization: "org-crowd" } },
      ...members.map((user) => ({ id: `is-${user}`, action: "member.added", details: { user, role: role[user](n) } })),
    ]);
  }

  const recorded = new Map(workspaces.map((ws) => [ws, []]));
  const subscribers = [];
  const faults = [];
  let cuts = 0;
  for (const user of Object.keys(role)) {
    const own = workspaces.filter((_, n) => role[user](n));
    const bearer = await token(`sub=${user}`);
    for (let n = 0; n < 40; n += 1) {
      // One in ten subscribes to the organization.
      const visible = n % 10 === 9 ? own : [own[n % own.length]];
      const variables = n % 10 === 9 ? { companyId: "org-crowd" } : { projectId: visible[0] };
      const subscriber = {
        user,
        visible,
        received: new Map(visible.map((ws) => [ws, []])),
        messages: 0,
        begun: 0,
        socket: null,
      };
      subscriber.client = createClient({
        url: SOCKET,
        webSocketImpl: WebSocket,
        connectionParams: { authorization: `Bearer ${bearer}` },
        retryAttempts: Infinity,
        shouldRetry: () => true,
        retryWait: () => sleep(50 + Math.random() * 200),
        on: {
          opened: (socket) => (subscriber.socket = socket),
          pong(received, payload) {
            if (received && payload?.cursor) {
              subscriber.begun += 1;
              variables.after = payload.cursor;
            }
          },
        },
      });
      const query = `subscription($companyId: String, $projectId: String, $after: String) {
        subscribeToActivity(companyId: $companyId, projectId: $projectId, after: $after) { node { id: activityId project { id } } }
      }`;
      subscriber.client.subscribe(
        { query, variables },
        {
          next({ data, errors, extensions }) {
            if (errors) faults.push(errors);
            variables.after = extensions.cursor;
            subscriber.messages += 1;
            const { id, project } = data.subscribeToActivity.node;
            const received = subscriber.received.get(project.id);
            if (!received) faults.push(`${user} got an update of ${project.id}`);
            else if (!received.includes(id)) received.push(id);
          },
          error: (error) => faults.push(error),
          complete: () => faults.push("completed"),
        },
      );
      subscribers.push(subscriber);
    }
  }
  await until("all subscriptions begin", () => subscribers.every(({ begun }) => begun), 60);

  // Updates of settings are for staff only.
  const event = (n) =>
    n % 7 === 3
      ? { id: `s-${n}`, action: "workspace.settings_updated", details: { activity_enabled: true } }
      : comment(`c-${n}`);
  let recording = workspaces.length;
  const writers = workspaces.map(async (ws) => {
    for (let n = 0; n < 200; ) {
      const events = Array.from({ length: Math.min(200 - n, 1 + Math.floor(Math.random() * 8)) }, () => event(n++));
      await record(ws, events);
      recorded.get(ws).push(...events.map(({ id }) => id));
    }
    recording -= 1;
  });
  const cutting = (async () => {
    while (recording) {
      subscribers[Math.floor(Math.random() * subscribers.length)].socket?.terminate();
      cuts += 1;
      await sleep(60);
    }
  })();
  await Promise.all([...writers, cutting]);
  const took = Date.now() - started;

  const expected = (subscriber, ws) =>
    recorded.get(ws).filter((id) => subscriber.user !== "guest" || !id.startsWith("s-"));
  const isDone = (subscriber) =>
    subscriber.visible.every((ws) => subscriber.received.get(ws).length >= expected(subscriber, ws).length);
  await until("all updates arrive", () => faults.length > 0 || subscribers.every(isDone), 240).catch((error) => {
    const behind = subscribers.filter((subscriber) => !isDone(subscriber));
    console.log(`${behind.length} of ${subscribers.length} subscribers did not get all updates`);
    throw error;
  });
  // No further update arrives.
  await sleep(1000);
  assert.deepEqual(faults, []);
  for (const subscriber of subscribers) {
    for (const ws of subscriber.visible) {
      assert.deepEqual(subscriber.received.get(ws), expected(subscriber, ws), subscriber.user);
    }
  }
  const messages = subscribers.reduce((sum, subscriber) => sum + subscriber.messages, 0);
  const begun = subscribers.reduce((sum, subscriber) => sum + subscriber.begun, 0);
  console.log(`     ${messages} messages, ${cuts} connections cut, ${begun} subscriptions, recorded in ${took} ms`);
  await Promise.all(subscribers.map(({ client }) => client.dispose()));
});

finish();
