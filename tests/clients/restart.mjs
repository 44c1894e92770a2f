// Starts the gateway again under the examples of docs/live.md. Its log is in memory, and therefore lost each time. Ends with
// "N passed, M failed".
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { check, finish } from "./check.mjs";
import { startNodeExample, startPageExample } from "./examples.mjs";

const { GATEWAY, BINARY } = process.env;
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function until(what, holds) {
  for (const end = Date.now() + 120_000; !(await holds()); await sleep(100)) {
    assert.ok(Date.now() < end, `${what} after two minutes`);
  }
}

async function startGateway(...options) {
  const child = spawn(BINARY, options, { stdio: "ignore" });
  const exited = new Promise((resolve) => child.on("exit", resolve));
  await until("the gateway is ready", () => fetch(`${GATEWAY}/healthz`).then(({ ok }) => ok, () => false));
  return { stop: () => (child.kill(), exited) };
}

const token = async (query) => (await (await fetch(`${GATEWAY}/dev/token?${query}`)).json()).access_token;

let recorded = 0;
/** Records comments with this text until the example shows one. */
async function untilShown(example, text) {
  const write = await token("sub=service&scope=activity:write");
  const shown = () => example.lines.includes(`<strong>user-demo</strong> commented: <em>${text}</em>`);
  await until(`the example shows "${text}"`, async () => {
    if (shown()) return true;
    const id = `restart-${(recorded += 1)}`;
    const event = { id, actor_type: "user", actor_id: "user-demo", action: "comment.created", issue_id: "issue-demo-1", details: { text } };
    const headers = { authorization: `Bearer ${write}` };
    const answer = await fetch(`${GATEWAY}/api/v1/workspaces/ws-demo/activity`, { method: "POST", headers, body: JSON.stringify(event) });
    assert.equal(answer.status, 201);
    return shown();
  });
}

const examples = {
  Node: { start: startNodeExample, trouble: "no connection, trying again", empty: "Project not found", lost: "is too old", lives: "After." },
  "a browser": {
    start: startPageExample,
    trouble: `status: No connection to ${new URL(GATEWAY).host}. Trying again …`,
    empty: "status: Project not found. Trying again …",
    lost: "is too old",
    lives: "status: Live",
  },
};

for (const [name, { start, trouble, empty, lost, lives }] of Object.entries(examples)) {
  await check(`example for ${name} goes on after the log was lost`, async () => {
    let gateway = await startGateway();
    // The page's token is typed in once. It has to outlive the gateway that issued it.
    const example = start(await token("sub=user-demo"));
    const says = (part, from) => until(`the example says "${part}"`, () => example.lines.slice(from).some((line) => line.includes(part)));
    try {
      await untilShown(example, "Before.");
      await gateway.stop();
      await says(trouble, 0);
      // Nothing is in the log now, not even the workspace.
      gateway = await startGateway("--no-demo");
      await says(empty, 0);
      await gateway.stop();
      gateway = await startGateway();
      await untilShown(example, "After.");
      await says(lost, 0);
      await says(lives, example.lines.findIndex((line) => line.includes(lost)));
    } catch (error) {
      console.log(example.lines.join("\n"));
      throw error;
    } finally {
      await example.stop();
      await gateway.stop();
    }
  });
}

finish();
