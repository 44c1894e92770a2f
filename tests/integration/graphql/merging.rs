//! Fragments that select one list several times, as those of components do.

use harness::World;
use serde_json::{Value, json};

use super::refusal;

#[tokio::test]
async fn list_of_several_fragments_is_read_once() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let ask = async |query: &str| {
        world.transport.take_metered();
        let variables = json!({ "p": "ws", "no": false });
        let mut answer = world.ask("owner", "", query, variables).await;
        assert!(answer.get("errors").is_none(), "{query}: {answer}");
        (answer["data"].take(), world.transport.take_metered().total())
    };
    let list = "activityList(projectId: $p, first: 2)";
    let a = format!("{list} {{ activities {{ id createdBy {{ id }} }} totalCount }}");
    let b = "activityList(first: 2, projectId: $p)
             { activities { uid createdBy { name } } pageInfo { hasNextPage } __typename }";
    let other = format!("other: {list} {{ activities {{ html }} }}");
    let once = ask(&format!(
        "query($p: String) {{
            {list} {{ activities {{ id createdBy {{ id name }} uid }} totalCount pageInfo {{ hasNextPage }} __typename }}
        }}"
    ))
    .await;
    for query in [
        format!(
            "query($p: String) {{ ...A ...B }} fragment A on Query {{ {a} }} fragment B on Query {{ {b} }}"
        ),
        format!("query($p: String) {{ {a} ... on Query {{ {b} }} ... {{ {a} }} }}"),
        format!("query($p: String) {{ {a} {b} }}"),
        format!(
            "query($p: String, $yes: Boolean = true, $no: Boolean!) {{
                ...A @include(if: $yes) ...B @skip(if: $no) ...C @include(if: $no) {} }}
            fragment A on Query {{ {} }} fragment B on Query {{ ...A ... @include(if: true) {{ {b} }} }}
            fragment C on Query {{ {list} {{ activities {{ html }} }} }}",
            a.replacen(')', ") @skip(if: $yes)", 1),
            a.replacen(')', ") @include(if: $yes)", 1),
        ),
        format!(
            "query Other($p: String) {{ ...B {other} }} fragment A on Query {{ {a} }}
             query This($p: String) {{ ...A ...B ...A }} fragment B on Query {{ {b} }}"
        ),
    ] {
        let name = query.contains("This").then_some("This");
        let body = json!({ "query": query, "operationName": name, "variables": { "p": "ws", "no": false } });
        world.transport.take_metered();
        let claims = Some(harness::token_claims("owner", ""));
        let mut reply = world.send("POST", "/graphql", claims, &[], Some(&body.to_string())).await;
        assert!(reply.body.get("errors").is_none(), "{query}: {reply:?}");
        assert_eq!((reply.body["data"].take(), world.transport.take_metered().total()), once, "{query}");
    }
    // A fragment that directives lead to twice is no second list either.
    let query = format!(
        "query($p: String, $yes: Boolean = true, $no: Boolean!) {{
            ...A ...B @include(if: $yes) ... @skip(if: $no) {{ ...B }} }}
         fragment A on Query {{ {a} }} fragment B on Query {{ {b} }}"
    );
    assert_eq!(ask(&query).await, once, "{query}");
    // Other names are other lists.
    let query = format!(
        "query($p: String) {{ ...A ...B }} fragment A on Query {{ {a} }} fragment B on Query {{ {other} }}"
    );
    let (data, requests) = ask(&query).await;
    assert_eq!(data["other"]["activities"].as_array().unwrap().len(), 2);
    assert!(requests > once.1);
}

#[tokio::test]
async fn two_lists_under_one_name_are_refused() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let list = |arguments: &str| format!("activityList({arguments}) {{ totalCount }}");
    let one = list("projectId: \"ws\", first: 1");
    for other in [
        list("projectId: \"ws\", first: 2"),
        list("projectId: \"ws\""),
        list("projectId: \"ws\", first: 1, last: null"),
        "activityList: __schema { queryType { name } }".to_owned(),
    ] {
        let query = format!("{{ ...A ... on Query {{ {other} }} }} fragment A on Query {{ {one} }}");
        let (message, code) = refusal(&world, "owner", &query).await;
        assert_eq!(code, "BAD_USER_INPUT");
        assert_eq!(
            message, "query: asks for two lists under the name activityList; give one of them an alias",
            "{query}"
        );
    }
}

#[tokio::test]
async fn invalid_fragments_are_refused_as_such() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let list = "activityList(projectId: \"ws\") { totalCount }";
    for (query, expected) in [
        (format!("{{ {list} ...A }}"), "A"),
        (format!("{{ {list} ...A }} fragment A on Activity {{ id }}"), "Activity"),
        (format!("{{ {list} ... @nope {{ {list} }} }}"), "nope"),
        (format!("{{ {list} ...A }} fragment A on Query {{ {list} }} fragment B on Query {{ {list} }}"), "B"),
        (format!("query($x: Int) {{ {list} ...A }} fragment A on Query {{ {list} }}"), "x"),
    ] {
        let answer = world.ask("owner", "", &query, Value::Null).await;
        let message = answer["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("{query}: {answer}"));
        assert!(message.contains(expected), "{query}: {message}");
        assert!(answer.get("data").is_none(), "{query}: {answer}");
    }
}
