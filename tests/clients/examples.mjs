// Runs the two examples of docs/live.md, unchanged.
import { fork } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const block = (language) => readFileSync(`${process.env.ROOT}/docs/live.md`, "utf8").split(`\`\`\`${language}\n`)[1].split("```")[0];

// The parts of a browser that the page uses. It prints what the page shows: an entry of the feed as it is, and the status
// after "status: ".
const BROWSER = `import Client from "ws";
  {
    const print = ({ innerHTML }) => console.log(innerHTML);
    const feed = { prepend: print, append: print, replaceChildren: () => console.log("emptied") };
    let shown = "";
    const status = {
      get textContent() { return shown; },
      set textContent(text) { console.log("status: " + (shown = text)); },
    };
    const document = { createElement: () => ({}), querySelector: (id) => ({ "#feed": feed, "#status": status })[id] };
    // A failed connection is no exception in a browser.
    const Socket = class extends Client { constructor(...to) { super(...to); this.onerror = () => {}; } };
    Object.assign(globalThis, { WebSocket: Socket, document, prompt: () => process.env.TOKEN });
  }\n`;

/** Runs a script in a process of its own, and gathers the lines that it prints. */
function run(name, script, env = {}) {
  const file = new URL(name, import.meta.url);
  writeFileSync(file, script);
  const child = fork(file, { stdio: ["ignore", "pipe", "pipe", "ipc"], env: { ...process.env, ...env } });
  const lines = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => lines.push(...data.toString().split("\n").filter(Boolean)));
  }
  const exited = new Promise((resolve) => child.on("exit", resolve));
  return { lines, stop: () => (child.kill(), exited) };
}

/** Starts the example for Node, which gets tokens itself. */
export function startNodeExample() {
  return run("guide-node.mjs", block("js"));
}

/** Starts the example for a browser, with a token to type in. */
export function startPageExample(token) {
  const script = block("html").split('<script type="module">')[1].split("</script>")[0];
  return run("guide-page.mjs", BROWSER + script, { TOKEN: token });
}
