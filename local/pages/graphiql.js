// The page to try GraphQL on. It gets a new token for each operation, because a token is valid for an hour only. The page's
// own query string says for whom: /graphql?sub=user-client.
"use strict";

const LIST = `# The newest activities of the demo workspace.
# Ctrl-Enter runs this. The next tab is live.
# The book at the left has the whole schema.
query Newest {
  activityList(projectId: "ws-demo", first: 10) {
    activities {
      category
      html
      createdAt
      createdBy { name }
      todo { title }
    }
    pageInfo { hasNextPage endCursor }
    totalCount
  }
}
`;

const LIVE = `# Run this, and record something meanwhile:
# press Execute below "Record activity" at /docs.
subscription Live {
  subscribeToActivity(projectId: "ws-demo") {
    mutation
    node { category html createdAt }
  }
}
`;

async function token() {
  const response = await fetch(`/dev/token${location.search}`).catch(() => {
    throw new Error("The gateway does not answer. Is it still running?");
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer.access_token;
}

async function fetcher(operation, options) {
  const typed = Object.keys(options?.headers ?? {}).some((name) => name.toLowerCase() === "authorization");
  const headers = typed ? {} : { Authorization: `Bearer ${await token()}` };
  const url = new URL("/graphql", location.href);
  const socket = new URL(url);
  socket.protocol = url.protocol.replace("http", "ws");
  const send = GraphiQL.createFetcher({ url: `${url}`, subscriptionUrl: `${socket}`, headers, wsConnectionParams: headers });
  return send(operation, options);
}

const page = React.createElement(GraphiQL, {
  fetcher,
  defaultEditorToolsVisibility: true,
  defaultTabs: [{ query: LIST }, { query: LIVE }],
});
ReactDOM.createRoot(document.querySelector("#graphiql")).render(page);
