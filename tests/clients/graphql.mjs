// Queries the gateway with graphql-request. Ends with "N passed, M failed".
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { buildClientSchema, buildSchema, getIntrospectionQuery, lexicographicSortSchema, parse, printSchema, validate } from "graphql";
import { ClientError, GraphQLClient } from "graphql-request";
import { check, finish } from "./check.mjs";

const { ROOT, GATEWAY, TOKEN } = process.env;
const read = (path) => readFileSync(`${ROOT}/${path}`, "utf8");
const bearer = (token) => ({ headers: { authorization: `Bearer ${token}` } });
const client = new GraphQLClient(`${GATEWAY}/graphql`, bearer(TOKEN));
const token = async (query) => (await (await fetch(`${GATEWAY}/dev/token?${query}`)).json()).access_token;

/** The message and code of the error that a request fails with. */
async function refusal(request) {
  const error = await request.then(() => assert.fail("the request succeeded"), (error) => error);
  assert.ok(error instanceof ClientError, String(error));
  const [{ message, extensions }] = error.response.errors;
  return [message, extensions.code];
}

// The second example asks for dates of 2024.
const done = { actor_type: "user", actor_id: "user-demo", issue_id: "issue-demo-1" };
const events = [
  { ...done, id: "of-2024-1", action: "issue.created", details: { title: "<Old>", identifier: "ISS-0" } },
  { ...done, id: "of-2024-2", action: "comment.created", details: { comment: "c-1", text: "Soon." } },
  { ...done, id: "of-2024-3", action: "issue.completed", actor_type: "agent", actor_id: "agent-demo" },
  { ...done, id: "of-2024-4", action: "issue.completed", actor_id: "user-else" },
  { ...done, id: "of-2024-5", action: "issue.reopened" },
];
const recorded = await fetch(`${GATEWAY}/api/v1/workspaces/ws-demo/activity`, {
  method: "POST",
  ...bearer(await token("sub=service&scope=activity:write")),
  body: JSON.stringify(events.map((event, n) => ({ ...event, created_at: `2024-06-0${n + 1}T12:00:00Z` }))),
});
assert.equal(recorded.status, 200, await recorded.text());

const [, basic, advanced] = read("tests/reference/activity_list.graphql")
  .replaceAll("your-project-id", "ws-demo")
  .replaceAll("your-company-id", "org-demo")
  .replaceAll("user1-id", "user-demo")
  .replaceAll("user2-id", "agent-demo")
  .split(/^(?=query )/m);

await check("schema equals its file, and examples are valid", async () => {
  const served = buildClientSchema(await client.request(getIntrospectionQuery({ specifiedByUrl: true })));
  const file = buildSchema(read("shared/graphql-api/schema.graphql"));
  assert.equal(printSchema(lexicographicSortSchema(served)), printSchema(lexicographicSortSchema(file)));
  for (const example of [basic, advanced]) {
    assert.deepEqual(validate(served, parse(example)), []);
  }
});

await check("basic example", async () => {
  const { activityList } = await client.request(basic);
  assert.equal(activityList.activities.length, Math.min(20, activityList.totalCount));
  assert.equal(activityList.pageInfo.hasNextPage, activityList.totalCount > 20);
  const times = activityList.activities.map(({ createdAt }) => new Date(createdAt).getTime());
  assert.ok(times.every(Number.isFinite), "every time is one that JavaScript reads");
  assert.deepEqual(times, times.toSorted((a, b) => b - a));
  for (const { project, html } of activityList.activities) {
    assert.deepEqual(project, { id: "ws-demo", name: "Demo" });
    assert.match(html, /^<strong>/);
  }
});

await check("advanced example", async () => {
  const { activityList } = await client.request(advanced);
  const ids = ["of-2024-3", "of-2024-2", "of-2024-1"].map((id) => `ws-demo/${id}`);
  assert.deepEqual(activityList.activities.map(({ id }) => id), ids);
  assert.deepEqual(activityList.activities.map(({ uid }) => uid), ids);
  assert.equal(activityList.totalCount, 3);
  const [, comment, created] = activityList.activities;
  assert.deepEqual(comment.comment, { id: "c-1", text: "Soon." });
  assert.deepEqual(created.todo, { id: "issue-demo-1", title: "<Old>" });
  assert.match(created.html, /&lt;Old&gt;/);
  assert.deepEqual(created.project, { id: "ws-demo", name: "Demo", slug: "demo" });
});

await check("pages of three, in both directions", async () => {
  const page = `query Page($first: Int, $after: String, $last: Int, $before: String) {
    activityList(projectId: "demo", first: $first, after: $after, last: $last, before: $before) {
      activities { uid }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      totalCount
    }
  }`;
  const forward = [];
  let total;
  let after;
  do {
    const { activityList } = await client.request(page, { first: 3, after });
    ({ totalCount: total } = activityList);
    forward.push(...activityList.activities.map(({ uid }) => uid));
    after = activityList.pageInfo.hasNextPage ? activityList.pageInfo.endCursor : undefined;
  } while (after);
  const backward = [];
  let before;
  do {
    const { activityList } = await client.request(page, { last: 3, before });
    backward.unshift(...activityList.activities.map(({ uid }) => uid));
    before = activityList.pageInfo.hasPreviousPage ? activityList.pageInfo.startCursor : undefined;
  } while (before);
  assert.equal(new Set(forward).size, total);
  assert.deepEqual(backward, forward);
});

await check("components that select one list", async () => {
  const components = `query Page { ...Feed_query ...Header_query }
    fragment Feed_query on Query { activityList(projectId: "ws-demo", first: 2) { activities { id html } } }
    fragment Header_query on Query { activityList(projectId: "ws-demo", first: 2) { totalCount activities { category } } }`;
  const { activityList } = await client.request(components);
  assert.deepEqual(Object.keys(activityList.activities[0]).toSorted(), ["category", "html", "id"]);
  assert.equal(activityList.activities.length, 2);
  assert.ok(activityList.totalCount > 2);
});

await check("errors of the reference", async () => {
  const list = `query List($project: String, $start: DateTime, $end: DateTime) {
    activityList(projectId: $project, startDate: $start, endDate: $end) { totalCount }
  }`;
  const outsider = new GraphQLClient(`${GATEWAY}/graphql`, bearer(await token("sub=outsider")));
  assert.deepEqual(await refusal(client.request(list, { project: "nothing" })), ["Project not found", "NOT_FOUND"]);
  assert.deepEqual(await refusal(outsider.request(list, { project: "ws-demo" })), [
    "You do not have permission to view activities for this project",
    "FORBIDDEN",
  ]);
  const reversed = { project: "ws-demo", start: "2025-01-02T00:00:00Z", end: "2025-01-01T00:00:00Z" };
  assert.deepEqual(await refusal(client.request(list, reversed)), [
    "Start date must be before end date",
    "BAD_USER_INPUT",
  ]);
  assert.equal((await refusal(client.request("{ nothing }")))[1], "BAD_USER_INPUT");
});

finish();
