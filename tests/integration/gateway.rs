//! The local gateway over real HTTP: tokens, routes, errors and documentation.

use std::net::SocketAddr;
use std::time::Duration;

use harness::{Reply, World, exchange};
use local::template::{QueueSource, Template};
use local::token::SigningKey;
use local::{Backend, Gateway};
use serde_json::{Value, json};
use store::Connections;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::event;
use crate::samples::with_demo;

pub(crate) const PAGE: &str = "/api/v1/workspaces/ws-demo/activity";

/// A gateway that serves until `stop` is sent to.
pub(crate) struct RunningGateway {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Gateway,
    pub(crate) world: World,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) stopped: JoinHandle<std::io::Result<()>>,
}

impl RunningGateway {
    pub(crate) async fn new() -> Self {
        let world = with_demo(World::new().await).await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let issuer = format!("http://localhost:{}", address.port());
        let template = Template::load().unwrap();
        // Failed messages are retried after 5 ms.
        let fast = |source| QueueSource {
            timeout: Duration::from_secs(1),
            visibility: Duration::from_millis(5),
            ..source
        };
        let queues = template.queue_sources().into_iter().map(fast).collect();
        let backend = Backend {
            store: world.store.clone(),
            connections: Connections::beside(&world.store, "none"),
            stream: None,
            clock: world.clock(),
            jitter: fastrand::Rng::with_seed(5),
            key: SigningKey::of_process(),
        };
        let gateway = Gateway::with_queues(backend, &template, issuer, queues);
        let (stop, stop_requested) = oneshot::channel::<()>();
        let stopped = tokio::spawn(local::serve(listener, gateway.clone(), async {
            stop_requested.await.ok();
        }));
        Self { address, gateway, world, stop, stopped }
    }

    pub(crate) async fn send(&self, line: &str, headers: &[String], body: &[u8]) -> Reply {
        let line = format!("{line} HTTP/1.1");
        let head: Vec<&str> = [line.as_str(), "host: localhost"]
            .into_iter()
            .chain(headers.iter().map(String::as_str))
            .collect();
        exchange(self.address, &head, body).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(&format!("GET {path}"), &[format!("authorization: Bearer {token}")], b"").await
    }

    pub(crate) fn reader_token(&self) -> String {
        self.token("user-demo", "")
    }

    pub(crate) fn token(&self, sub: &str, scope: &str) -> String {
        self.gateway.token(sub, scope)
    }
}

fn code(reply: &Reply) -> (u16, &str) {
    assert_eq!(reply.headers["content-type"], "application/problem+json", "{reply:?}");
    assert_eq!(reply.body["status"], reply.status);
    (reply.status, reply.body["code"].as_str().unwrap())
}

#[tokio::test]
async fn gateway_lists_and_records() {
    let gateway = RunningGateway::new().await;
    let token = gateway.reader_token();
    let first = gateway.get(&format!("{PAGE}?limit=2&include=total"), &token).await;
    assert_eq!((first.status, first.ids().len(), first.headers["x-total-count"].as_str()), (200, 2, "12"));
    let second = gateway.get(first.next().unwrap(), &token).await;
    assert_eq!((second.status, second.ids().len()), (200, 2));
    assert_ne!(first.ids(), second.ids());
    let issue = gateway.get("/api/v1/workspaces/ws-demo/issues/issue-demo-1/activity", &token).await;
    assert!(issue.body.as_array().unwrap().iter().all(|entry| entry["issue_id"] == "issue-demo-1"));
    // The gateway decodes the path's parameters.
    assert_eq!(gateway.get("/api/v1/workspaces/ws%2Ddemo/activity", &token).await.status, 200);

    let mut body = event("act-1", "2025-01-01T00:00:00Z");
    body["workspace_id"] = json!("ws-demo");
    let headers = [format!("authorization: Bearer {}", gateway.token("service", "activity:write"))];
    let post = format!("POST {PAGE}");
    let recorded = gateway.send(&post, &headers, body.to_string().as_bytes()).await;
    assert_eq!(recorded.status, 201, "{recorded:?}");
    let client = gateway.token("user-client", "");
    assert_eq!(gateway.get(&recorded.headers["location"], &client).await.body, recorded.body);
    assert_eq!(gateway.send(&post, &headers, body.to_string().as_bytes()).await.status, 200);
    let actions = gateway.get("/api/v1/actions", &token).await;
    assert_eq!((actions.status, &actions.body[0]["action"]), (200, &json!("issue.created")));
    assert_eq!(gateway.get("/api/v1/actions?action=a", &token).await.status, 400);
    harness::check(&gateway.world.client, &gateway.world.table).await;
}

#[tokio::test]
async fn invalid_token_is_unauthenticated() {
    let gateway = RunningGateway::new().await;
    let expired = gateway.reader_token();
    gateway.world.advance(std::time::Duration::from_secs(2 * 3600));
    let good = gateway.reader_token();
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let other = gateway.token("user-other", "");
    let payload = other.split('.').nth(1).unwrap();
    for bad in [
        "",
        "x",
        "a.b.c",
        &expired,
        &good[1..],
        &format!("{good}x"),
        &format!("{header}.{payload}.{signature}"),
        &format!("{head}."),
    ] {
        let reply = gateway.get(PAGE, bad).await;
        assert_eq!(code(&reply), (401, "UNAUTHENTICATED"), "{bad}");
        assert!(reply.headers["www-authenticate"].starts_with("Bearer"), "{bad}");
    }
    let get = format!("GET {PAGE}");
    for headers in [vec![], vec!["authorization: Basic dXNlcjpwYXNz".to_owned()]] {
        assert_eq!(code(&gateway.send(&get, &headers, b"").await), (401, "UNAUTHENTICATED"));
    }
    assert_eq!(gateway.get(PAGE, &good).await.status, 200);
    let body = event("act-1", "2025-01-01T00:00:00Z").to_string();
    let headers = [format!("authorization: Bearer {good}")];
    let refused = gateway.send(&format!("POST {PAGE}"), &headers, body.as_bytes()).await;
    assert_eq!(code(&refused), (403, "FORBIDDEN"));
}

#[tokio::test]
async fn unknown_path_or_method_is_a_problem() {
    let gateway = RunningGateway::new().await;
    let token = gateway.reader_token();
    for path in ["/", "/api/v1", "/api/v2/workspaces/ws-demo/activity", "//", "/%00"] {
        assert_eq!(code(&gateway.get(path, &token).await), (404, "NOT_FOUND"), "{path}");
    }
    for workspace in ["", "~", "~ws", "ws%0Ademo", "%E2%80%8B"] {
        let path = format!("/api/v1/workspaces/{workspace}/activity");
        let reply = gateway.get(&path, &token).await;
        assert_eq!(
            (code(&reply), &reply.body["field"]),
            ((400, "BAD_USER_INPUT"), &json!("ws_id")),
            "{path}"
        );
    }
    assert_eq!(code(&gateway.get("/api/v1/workspaces/%FF/activity", &token).await).0, 400);
    let unknown = gateway.get(&format!("{PAGE}?page=2"), &token).await;
    assert_eq!((code(&unknown).0, &unknown.body["field"]), (400, &json!("page")));
    let headers = [format!("authorization: Bearer {token}")];
    let delete = gateway.send(&format!("DELETE {PAGE}"), &headers, b"").await;
    assert_eq!((delete.status, delete.headers["allow"].as_str()), (405, "GET, POST"));
    let origin = ["origin: https://app.example".to_owned(), "access-control-request-method: GET".to_owned()];
    let preflight = gateway.send(&format!("OPTIONS {PAGE}"), &origin, b"").await;
    assert_eq!((preflight.status, preflight.headers["access-control-allow-origin"].as_str()), (200, "*"));
    // Without these, tracing in a page, and a page that compresses, would stop every request.
    let allowed: Vec<&str> = preflight.headers["access-control-allow-headers"].split(',').collect();
    for header in ["traceparent", "tracestate", "content-encoding"] {
        assert!(allowed.contains(&header), "{allowed:?}");
    }
    let writer = [format!("authorization: Bearer {}", gateway.token("s", "activity:write"))];
    let large = gateway.send(&format!("POST {PAGE}"), &writer, &vec![b' '; 6 * 1024 * 1024 + 1]).await;
    assert_eq!(code(&large), (413, "PAYLOAD_TOO_LARGE"));
    // The gateway still serves after all these requests.
    assert_eq!(gateway.get(PAGE, &token).await.status, 200);
}

#[tokio::test]
async fn dev_token_endpoint_issues_valid_tokens() {
    let gateway = RunningGateway::new().await;
    let reply = gateway.send("GET /dev/token?sub=user-demo&scope=activity:write", &[], b"").await;
    assert_eq!(
        (reply.status, &reply.body["token_type"], &reply.body["expires_in"]),
        (200, &json!("Bearer"), &json!(3600))
    );
    let token = reply.body["access_token"].as_str().unwrap();
    assert_eq!(gateway.get(PAGE, token).await.status, 200);
    for query in ["sub=", "sub=a&sub=b", "user=x", "scope=activity:wirte"] {
        assert_eq!(code(&gateway.send(&format!("GET /dev/token?{query}"), &[], b"").await).0, 400, "{query}");
    }
    let keys = gateway.send("GET /.well-known/jwks.json", &[], b"").await;
    assert!(keys.body["keys"][0]["d"].is_null(), "a private key");
    assert_eq!(
        (&keys.body["keys"][0]["kty"], &keys.body["keys"][0]["alg"]),
        (&json!("RSA"), &json!("RS256"))
    );
}

#[tokio::test]
async fn gateway_serves_openapi_and_docs() {
    let gateway = RunningGateway::new().await;
    let document: Value = serde_json::from_str(&local::openapi::document()).unwrap();
    assert_eq!(gateway.send("GET /openapi.json", &[], b"").await.body, document);
    let page = gateway.send("GET /docs/", &[], b"").await;
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html"));
    let start = gateway.send("GET /docs/swagger-initializer.js", &[], b"").await;
    assert_eq!((start.status, start.headers["content-type"].as_str()), (200, "text/javascript"));
    assert!(start.body.as_str().unwrap().contains("/dev/token?sub=user-demo"));
}

#[tokio::test]
async fn documented_examples_work_on_the_demo_workspace() {
    let gateway = RunningGateway::new().await;
    let token = gateway.token("user-demo", "activity:write activity:admin");
    let document: Value = serde_json::from_str(&local::openapi::document()).unwrap();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let path = parameters.filter(|parameter| parameter["in"] == "path").fold(
                path.clone(),
                |path, parameter| {
                    let name = parameter["name"].as_str().unwrap();
                    path.replace(&format!("{{{name}}}"), parameter["example"].as_str().unwrap())
                },
            );
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let line = format!("{} {path}", method.to_uppercase());
            let headers = [format!("authorization: Bearer {token}")];
            let reply = gateway.send(&line, &headers, body.as_bytes()).await;
            assert_eq!(reply.status, if method == "post" { 201 } else { 200 }, "{line}: {reply:?}");
            assert!(!body.is_empty() || method == "get", "{line}");
            tried += 1;
        }
    }
    assert_eq!(tried, 5);
    harness::check(&gateway.world.client, &gateway.world.table).await;
}

#[tokio::test]
async fn health_fails_when_the_log_cannot_be_read() {
    let gateway = RunningGateway::new().await;
    let healthy = gateway.send("GET /healthz", &[], b"").await;
    assert_eq!((healthy.status, &healthy.body["status"]), (200, &json!("ok")));
    gateway.world.client.delete_table().table_name(&gateway.world.table).send().await.unwrap();
    let reply = gateway.send("GET /healthz", &[], b"").await;
    assert!(code(&reply).0 >= 500, "{reply:?}");
}

#[tokio::test]
async fn gateway_serves_graphql_and_graphiql() {
    let gateway = RunningGateway::new().await;
    let query = json!({ "query": "{ activityList(projectId: \"demo\", first: 2) { activities { id: activityId } } }" });
    let ask = async |token: &str| {
        let headers = [format!("authorization: Bearer {token}"), "content-type: application/json".to_owned()];
        gateway.send("POST /graphql", &headers, query.to_string().as_bytes()).await
    };
    let reply = ask(&gateway.reader_token()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.body["data"]["activityList"]["activities"].as_array().unwrap().len(), 2, "{reply:?}");
    assert_eq!(code(&ask("").await), (401, "UNAUTHENTICATED"));

    let foreign = ["origin: http://elsewhere.example".to_owned()];
    let page = gateway.send("GET /graphql", &foreign, b"").await;
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    // The browser loads nothing from elsewhere.
    assert!(
        page.headers["content-security-policy"].starts_with("default-src 'none'; script-src 'self';"),
        "{page:?}"
    );
    let page = page.body.as_str().unwrap().to_owned();
    for file in page.split('"').filter(|text| text.starts_with('/')) {
        let file = gateway.send(&format!("GET {file}"), &foreign, b"").await;
        let kind = file.headers["content-type"].as_str();
        assert!(
            file.status == 200
                && matches!(kind, "text/javascript; charset=utf-8" | "text/css; charset=utf-8")
        );
    }
    assert_eq!(gateway.send("GET /dev/graphiql/other.js", &[], b"").await.status, 404);
    // The page's script gets a token there, which no page of another origin can read.
    let issued = gateway.send("GET /dev/token", &foreign, b"").await;
    assert!(!issued.headers.contains_key("access-control-allow-origin"), "{issued:?}");
    assert_eq!(ask(issued.body["access_token"].as_str().unwrap()).await.status, 200);

    // Queries by GET are for every origin, with the headers that clients add.
    let origin = "origin: http://elsewhere.example".to_owned();
    let get = "GET /graphql?query=%7B__typename%7D";
    let bearer = format!("authorization: Bearer {}", gateway.reader_token());
    let reply = gateway.send(get, &[origin.clone(), bearer], b"").await;
    assert_eq!((reply.status, &reply.body), (200, &json!({ "data": { "__typename": "Query" } })));
    assert_eq!(reply.headers["access-control-allow-origin"], "*");
    assert_eq!(code(&gateway.send(get, &[], b"").await), (401, "UNAUTHENTICATED"));
    let refused = gateway.send("PUT /graphql", std::slice::from_ref(&origin), b"").await;
    assert_eq!(refused.headers["access-control-allow-origin"], "*", "{refused:?}");
    assert_eq!(refused.headers["allow"], "POST, GET", "{refused:?}");
    let wanted = "authorization, content-type, apollographql-client-name, apollographql-client-version, \
                  apollo-require-preflight, graphql-client-name, graphql-client-version, x-apollo-operation-name";
    for method in ["GET", "POST"] {
        let headers = [
            origin.clone(),
            format!("access-control-request-method: {method}"),
            format!("access-control-request-headers: {wanted}"),
        ];
        let preflight = gateway.send("OPTIONS /graphql", &headers, b"").await;
        let allowed = &preflight.headers["access-control-allow-headers"];
        for header in wanted.split(", ") {
            assert!(allowed.split(',').any(|name| name.trim() == header), "{header}: {allowed}");
        }
        assert!(preflight.headers["access-control-allow-methods"].contains(method), "{preflight:?}");
    }
    assert_eq!(code(&gateway.send("GET /graphql?user=x", &[], b"").await), (400, "BAD_USER_INPUT"));
    assert_eq!(code(&gateway.send("PUT /graphql", &[], b"").await), (405, "BAD_USER_INPUT"));
}
