//! Errors, with the messages of the reference.

use harness::{World, token_claims};
use serde_json::{Value, json};

use super::{data, refusal};

fn list(arguments: &str) -> String {
    format!("{{ activityList({arguments}) {{ activities {{ id: activityId }} }} }}")
}

#[tokio::test]
async fn errors_have_the_reference_messages_and_codes() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let ws = |arguments: &str| list(&format!("projectId: \"ws\", {arguments}"));
    let many = |name: &str| {
        let values: Vec<String> = (0..21).map(|n| format!("\"v-{n}\"")).collect();
        ws(&format!("{name}: [{}]", values.join(", ")))
    };
    for (query, message, code) in [
        (list("projectId: \"none\""), "Project not found", "NOT_FOUND"),
        (
            list("projectId: \"\""),
            "projectId: must not be empty; leave it out, or give null, to show all",
            "BAD_USER_INPUT",
        ),
        (
            list("projectId: \"ws\", companyId: \"\""),
            "companyId: must not be empty; leave it out, or give null, to show all",
            "BAD_USER_INPUT",
        ),
        (
            ws("userId: \"\""),
            "userId: must not be empty; leave it out, or give null, to show all",
            "BAD_USER_INPUT",
        ),
        (
            ws("after: \"\""),
            "after: must not be empty; leave it out, or give null, for the first page",
            "BAD_USER_INPUT",
        ),
        (
            ws("before: \"\""),
            "before: must not be empty; leave it out, or give null, for the last page",
            "BAD_USER_INPUT",
        ),
        (list("projectId: \"a#b/../c\""), "Project not found", "NOT_FOUND"),
        (list("companyId: \"none\""), "Company not found", "NOT_FOUND"),
        (list("companyId: \"a#b\""), "Company not found", "NOT_FOUND"),
        (list("projectId: \"ws\", companyId: \"org-2\""), "Project not found", "NOT_FOUND"),
        (
            ws("startDate: \"2025-01-02T00:00:00Z\", endDate: \"2025-01-01T00:00:00Z\""),
            "Start date must be before end date",
            "BAD_USER_INPUT",
        ),
        (
            ws("startDate: \"yesterday\""),
            "Failed to parse \"DateTime\": must be a time such as 2025-01-01T00:00:00Z: its date is not written \
             like 2024-03-01",
            "BAD_USER_INPUT",
        ),
        (ws("first: 1, last: 1"), "first: must not be given together with last", "BAD_USER_INPUT"),
        (ws("first: 0"), "first: must be from 1 to 200", "BAD_USER_INPUT"),
        (ws("last: 201"), "last: must be from 1 to 200", "BAD_USER_INPUT"),
        (ws("skip: -1"), "skip: must be 0 or more", "BAD_USER_INPUT"),
        (
            ws("userIds: []"),
            "userIds: must not be empty; leave it out, or give null, to show all",
            "BAD_USER_INPUT",
        ),
        (
            ws("userId: \"a\\u200b\""),
            "userId: must be 1 to 256 bytes of text without control and format characters",
            "BAD_USER_INPUT",
        ),
        (many("tagIds"), "tagIds: must have at most 20 values", "BAD_USER_INPUT"),
        (many("userIds"), "userIds: must have at most 20 values", "BAD_USER_INPUT"),
        (
            ws("after: \"AAAA\""),
            "after: must be one that this feed gave, used with the same filters and order",
            "BAD_USER_INPUT",
        ),
        (
            ws("before: \"é\""),
            "before: must be one that this feed gave, used with the same filters and order",
            "BAD_USER_INPUT",
        ),
    ] {
        assert_eq!(refusal(&world, "owner", &query).await, (message.into(), code.into()), "{query}");
    }
    for (query, message) in [
        (list("projectId: \"ws\""), "You do not have permission to view activities for this project"),
        (list("companyId: \"org-1\""), "You do not have permission to view activities for this company"),
    ] {
        assert_eq!(refusal(&world, "stranger", &query).await, (message.into(), "FORBIDDEN".into()));
    }
}

#[tokio::test]
async fn invalid_document_is_rejected_before_any_read() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.transport.take_metered();
    let alias = |n: usize| {
        format!(
            "a{n}: activityList(projectId: \"ws\", first: 200) {{ activities {{ id: activityId html }} }} "
        )
    };
    let names = |n: usize| format!("a{n}: __typename ");
    // Each fragment spreads the next one 300 times. Their expansion would take more than a day.
    let bomb: String = (0..9)
        .map(|n| format!("fragment F{n} on Query {{ {} }} ", format!("...F{} ", n + 1).repeat(300)))
        .chain(["fragment F9 on Query { __typename }".to_owned()])
        .collect();
    let directives = "@include(if: true) ".repeat(9);
    for (query, message) in [
        ("{".to_owned(), "expected"),
        ("not graphql".to_owned(), "expected"),
        ("mutation { createActivity { id } }".to_owned(), "Schema is not configured for mutations."),
        ("subscription { subscribeToActivity { mutation } }".to_owned(), "served over WebSocket"),
        ("{ activityList(projectId: \"ws\", colour: \"red\") { totalCount } }".to_owned(), "colour"),
        ("{ activityList(projectId: 1) { totalCount } }".to_owned(), "projectId"),
        ("{ activityList(projectId: \"ws\", first: \"1\") { totalCount } }".to_owned(), "first"),
        (
            "{ activityList(projectId: \"ws\", categories: [CREATE_WORLD]) { totalCount } }".to_owned(),
            "ActivityCategory",
        ),
        ("{ activityList(projectId: \"ws\", orderBy: created) { totalCount } }".to_owned(), "orderBy"),
        ("{ activityList(projectId: \"ws\") { activities { secret } } }".to_owned(), "secret"),
        ("{ activityList(projectId: \"ws\") { activities } }".to_owned(), "activities"),
        (
            "query A { activityList { totalCount } } query B { activityList { totalCount } }".to_owned(),
            "Operation name required in request.",
        ),
        (format!("{{ {} }}", (0..20).map(alias).collect::<String>()), "Query is too complex."),
        (
            format!("query A($n: Int = 200) {{ {} }}", (0..8).map(alias).collect::<String>())
                .replace("first: 200", "first: $n")
                .replace("id html", "id html createdAt updatedAt uid text"),
            "Query is too complex.",
        ),
        (
            format!("{}id{}", "{ activityList ".repeat(60), " }".repeat(60)),
            "query: must be at most 32 levels deep, fragments included",
        ),
        (
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(),
            "query: must be at most 32 levels deep, fragments included",
        ),
        (
            format!("{{ ...F0 }} {bomb}"),
            "query: must select at most 1000 fields, fragments where they are spread",
        ),
        (
            // The limit also applies to fragments that nothing spreads.
            format!("{{ __typename }} {bomb}"),
            "query: must select at most 1000 fields, fragments where they are spread",
        ),
        (
            format!("{{ {} }}", (0..1_001).map(names).collect::<String>()),
            "query: must select at most 1000 fields, fragments where they are spread",
        ),
        (
            format!("{{ activityList(projectId: {}1{}) }}", "{a:".repeat(15_000), "}".repeat(15_000)),
            "query: must nest at most 100 brackets",
        ),
        (
            format!("{{ activityList(userIds: {}) }}", "[".repeat(60_000)),
            "query: must nest at most 100 brackets",
        ),
        (
            "{ __schema { types { fields { type { fields { name } } } } } }".to_owned(),
            "query: must not list the fields of types within each other",
        ),
        (
            "{ ...A ...B } fragment A on Query { activityList(first: 1) { totalCount } }
             fragment B on Query { activityList { activities { id: activityId } } }"
                .to_owned(),
            "query: asks for two lists under the name activityList; give one of them an alias",
        ),
        (
            format!("{{ activityList(projectId: \"ws\") {directives} {{ totalCount }} }}"),
            "The number of directives on the field `activityList` cannot be greater than `8`",
        ),
    ] {
        let answer = world.ask("owner", "", &query, Value::Null).await;
        let shown = &query[..query.len().min(100)];
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{shown}: {answer}");
        assert!(error["message"].as_str().unwrap().contains(message), "{shown}: {answer}");
        assert!(answer.get("data").is_none(), "{shown}: {answer}");
        assert_eq!(world.transport.take_metered().total(), 0, "{shown}");
    }
}

#[tokio::test]
async fn argument_of_a_wrong_type_is_named() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let query = |arguments: &str| format!("query($x: Int) {{ activityList({arguments}) {{ totalCount }} }}");
    for (query, variables, field) in [
        (list("projectId: 1"), json!({}), "projectId"),
        (list("first: \"1\""), json!({}), "first"),
        (list("first: 3000000000"), json!({}), "first"),
        (list("userIds: [1]"), json!({}), "userIds"),
        (list("categories: [CREATE_WORLD]"), json!({}), "categories"),
        (list("orderBy: created"), json!({}), "orderBy"),
        (list("startDate: \"yesterday\""), json!({}), "startDate"),
        (list("endDate: 7"), json!({}), "endDate"),
        (list("colour: \"red\""), json!({}), "colour"),
        (query("first: $x"), json!({ "x": "1" }), "first"),
        (query("projectId: $x"), json!({ "x": 1 }), "projectId"),
        (query("first: $x").replace("Int", "Int!"), json!({}), "first"),
        (
            "query($x: DateTime) { activityList(endDate: $x) { totalCount } }".to_owned(),
            json!({ "x": "1" }),
            "endDate",
        ),
        (
            "{ ...A ...A ...B } fragment A on Query { activityList(first: 1.5) { totalCount } }
             fragment B on Query { activityList(first: 1.5) { activities { id: activityId } } }"
                .to_owned(),
            json!({}),
            "first",
        ),
    ] {
        let answer = world.ask("owner", "", &query, variables).await;
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(
            (&extensions["field"], &extensions["code"]),
            (&json!(field), &json!("BAD_USER_INPUT")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn ordinary_documents_are_accepted() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let names: String = (0..900).map(|n| format!("n{n}: __typename ")).collect();
    for query in [
        // A fragment that is spread once counts once.
        format!("{{ ...All }} fragment All on Query {{ {names} }}"),
        "query { __typename ...A ...B activityList(projectId: \"ws\") { __typename activities { __typename id } } }
         fragment A on Query { __typename } fragment B on Query { __typename }"
            .to_owned(),
        "{ a: activityList(projectId: \"ws\") { ...L } b: activityList(projectId: \"ws\") { ...L } }
         fragment L on ActivityList { pageInfo { ...P } activities { ...N ...N } }
         fragment P on PageInfo { hasNextPage } fragment N on Activity { createdBy { id } createdBy { name } }"
            .to_owned(),
    ] {
        data(&world, &query).await;
    }
}

#[tokio::test]
async fn status_and_content_type_follow_the_accept_header() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let typed = "application/graphql-response+json";
    let good = "{ a: activityList(projectId: \"ws\") { totalCount } }";
    let failing = "{ a: activityList(projectId: \"ws\") { totalCount } b: activityList(projectId: \"no\") { totalCount } }";
    for (query, accept, status) in [
        (good, "application/json", 200),
        (good, typed, 200),
        (failing, "application/json", 200),
        (failing, "application/graphql-response+json; charset=utf-8, application/json", 200),
        ("{ nothing }", "application/json", 200),
        ("{ nothing }", typed, 400),
        ("{", typed, 400),
    ] {
        let body = json!({ "query": query }).to_string();
        let claims = Some(token_claims("owner", ""));
        let reply = world.send("POST", "/graphql", claims, &[("accept", accept)], Some(&body)).await;
        assert_eq!(reply.status, status, "{query} {accept}: {reply:?}");
        let expected = if accept.contains(typed) { typed } else { "application/json" };
        assert_eq!(reply.headers["content-type"], expected);
        assert_eq!(reply.headers["cache-control"], "private, no-store");
    }
    // A list is never null, so that one failed list makes all data null. The error's path names the list.
    let answer = world.ask("owner", "", failing, Value::Null).await;
    assert_eq!(answer.get("data"), Some(&Value::Null), "{answer}");
    let error = json!({
        "message": "Project not found", "locations": [{ "line": 1, "column": 51 }], "path": ["b"],
        "extensions": { "code": "NOT_FOUND", "requestId": "req-1" }
    });
    assert_eq!(answer["errors"], json!([error]));
}

#[tokio::test]
async fn malformed_body_is_rejected() {
    let world = World::new().await;
    let long = json!({ "query": format!("{{ activityList {{ totalCount }} }} #{}", "x".repeat(1 << 20)) });
    for (body, status, code) in [
        ("".to_owned(), 400, "BAD_USER_INPUT"),
        ("{".to_owned(), 400, "BAD_USER_INPUT"),
        ("[]".to_owned(), 400, "BAD_USER_INPUT"),
        ("{}".to_owned(), 400, "BAD_USER_INPUT"),
        ("{\"query\":1}".to_owned(), 400, "BAD_USER_INPUT"),
        (
            "{\"query\":\"{ activityList { totalCount } }\",\"variables\":[]}".to_owned(),
            400,
            "BAD_USER_INPUT",
        ),
        (format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)), 400, "BAD_USER_INPUT"),
        (long.to_string(), 413, "PAYLOAD_TOO_LARGE"),
    ] {
        let claims = Some(token_claims("owner", ""));
        let reply = world.send("POST", "/graphql", claims, &[], Some(&body)).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!(reply.status, status, "{shown}: {:?}", reply.body);
        assert_eq!(reply.body["errors"][0]["extensions"]["code"], code, "{shown}: {:?}", reply.body);
        assert!(reply.body["errors"][0].get("locations").is_none(), "{shown}: {:?}", reply.body);
    }
    let reply = world.send("POST", "/graphql", None, &[], Some("{}")).await;
    assert_eq!(
        (reply.status, &reply.body["errors"][0]["extensions"]["code"]),
        (401, &json!("UNAUTHENTICATED"))
    );
}

#[tokio::test]
async fn response_over_the_lambda_limit_is_rejected() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let long = (0..20).map(|n| {
        json!({
            "id": format!("long-{n}"), "workspace_id": "ws", "actor_type": "user", "actor_id": "ada",
            "action": "comment.created", "issue_id": "issue-1", "details": { "text": "é\"".repeat(15_000) },
            "created_at": "2025-01-01T00:00:00Z"
        })
    });
    world.given(long).await;
    // One page of long texts fits.
    let once = "{ activityList(projectId: \"ws\") { activities { comment { text } } } }";
    assert_eq!(data(&world, once).await["activityList"]["activities"].as_array().unwrap().len(), 25);
    let list = |n: usize| format!("l{n}: activityList(projectId: \"ws\") {{ activities {{ metadata }} }}");
    let again = |n: usize| format!("c{n}: comment {{ text }}");
    for query in [
        format!("{{ {} }}", (0..8).map(list).collect::<String>()),
        format!(
            "{{ activityList(projectId: \"ws\", first: 20) {{ activities {{ {} }} }} }}",
            (0..100).map(again).collect::<Vec<_>>().join(" ")
        ),
    ] {
        let (message, code) = refusal(&world, "owner", &query).await;
        assert_eq!(code, "PAYLOAD_TOO_LARGE");
        assert!(message.contains("ask for fewer activities"), "{message}");
    }
}

#[tokio::test]
async fn cursor_is_valid_for_its_own_feed_only() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.given_workspace("ws-2").await;
    let first = "{ activityList(projectId: \"ws\", first: 1) { pageInfo { endCursor } } }";
    let cursor = data(&world, first).await["activityList"]["pageInfo"]["endCursor"].clone();
    let same = format!("projectId: \"ws\", after: {cursor}");
    data(&world, &list(&same)).await;
    for other in [
        format!("projectId: \"ws-2\", after: {cursor}"),
        format!("companyId: \"org-1\", after: {cursor}"),
        format!("after: {cursor}"),
        format!("{same}, orderBy: createdAt_ASC"),
        format!("{same}, orderBy: category_DESC"),
        format!("{same}, userId: \"owner\""),
        format!("{same}, startDate: \"2020-01-01T00:00:00Z\""),
    ] {
        assert_eq!(refusal(&world, "owner", &list(&other)).await.1, "BAD_USER_INPUT", "{other}");
    }
}

#[tokio::test]
async fn table_failure_reveals_no_internals() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    world.transport.fail_randomly(1, 1, false);
    let body = json!({ "query": list("projectId: \"ws\"") }).to_string();
    let reply = world.send("POST", "/graphql", Some(token_claims("owner", "")), &[], Some(&body)).await;
    world.transport.fail_randomly(1, 0, false);
    let code = reply.body["errors"][0]["extensions"]["code"].as_str().unwrap();
    // The status alone shows that the fault is not the caller's.
    let expected = match code {
        "INTERNAL" => 500,
        "UNAVAILABLE" => 503,
        "THROTTLED" => 429,
        other => panic!("{other}"),
    };
    assert_eq!(reply.status, expected);
    let text = reply.body.to_string().to_lowercase();
    for internal in ["dynamo", "injected", "exception", "http", "pk"] {
        assert!(!text.contains(internal), "{text}");
    }
    assert_eq!(reply.body.get("data"), Some(&Value::Null), "{text}");
}
