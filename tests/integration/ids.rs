//! Ids are any text that can be seen: they are recorded, found and shown as they are, and reach into nobody's keys.

use harness::{World, check};
use serde_json::{Value, json};

use crate::event;
use crate::subscriptions::received_by_a_member;

/// Ids as issuers, trackers and people write them, and some that try to break out of a key or a path.
const IDS: &[&str] = &[
    "auth0|5f7c152e",
    "google-oauth2|1039",
    "dependabot[bot]",
    "ada+x@example.com",
    "good first issue",
    "a/b?c=d&e#f",
    "100%",
    "%2F",
    "%25",
    "~",
    "~YQ",
    ".",
    "..",
    "Größe 7 – 猫\u{1f600}",
    "\"quoted\\\"",
    "<b>&amp;",
    "ws#AT#2025",
    "' OR 1=1",
];

/// A segment of a path in both forms that are taken.
fn segments(id: &str) -> [String; 2] {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id);
    let percent: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
    [format!("~{encoded}"), percent]
}

fn creation(ws: &str, organization: &str, member: &str) -> [Value; 2] {
    let event = |id: &str, action: &str, details: Value| {
        json!({
            "id": id, "workspace_id": ws, "actor_type": "user", "actor_id": member, "action": action,
            "details": details, "created_at": "2020-01-01T00:00:00Z"
        })
    };
    [
        event("created", "workspace.created", json!({ "name": "W", "organization": organization })),
        event("added", "member.added", json!({ "user": member, "role": "owner" })),
    ]
}

#[tokio::test]
async fn any_visible_text_is_an_id_everywhere() {
    let world = World::new().await;
    for &id in IDS {
        world.given(creation(id, id, id)).await;
    }
    for &id in IDS {
        let mut recorded = event(id, "2025-01-01T00:00:00Z");
        recorded["workspace_id"] = json!(id);
        recorded["issue_id"] = json!(id);
        recorded["actor_id"] = json!(id);
        recorded["tags"] = json!(IDS);
        recorded["affected"] = json!({ "id": id });
        let [segment, percent] = segments(id);
        let reply = world.post(&segment, &recorded.to_string(), &[]).await;
        assert_eq!((reply.status, &reply.body["id"]), (201, &json!(id)), "{id}: {:?}", reply.body);
        let location = reply.headers["location"].clone();
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%'), "{location}");
        // A path has the id as it is, percent-encoded, unless it begins with a tilde.
        let forms: &[&str] = if id.starts_with('~') { &[&segment] } else { &[&segment, &percent] };
        for &ws in forms {
            let one = world.get_as(id, "", &format!("/api/v1/workspaces/{ws}/activity/{segment}")).await;
            assert_eq!((one.status, &one.body["issue_id"]), (200, &json!(id)), "{ws}");
            let feed = format!("/api/v1/workspaces/{ws}/issues/{segment}/activity?limit=1&include=total");
            let reply = world.get_as(id, "", &feed).await;
            assert_eq!((reply.ids(), reply.headers["x-total-count"].as_str()), (vec![id], "1"), "{feed}");
        }
        assert_eq!(world.get_as(id, "", &location).await.body["id"], json!(id), "{location}");
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("actor_id", id)
            .append_pair("tag", id)
            .append_pair("limit", "1")
            .finish();
        let first = format!("/api/v1/workspaces/{segment}/activity?{query}");
        assert_eq!(world.walk(id, &first, |_| {}).await, [id], "{first}");
        // A member of one workspace may not read another by an id that looks like it.
        for other in IDS.iter().filter(|other| **other != id) {
            let reply = world.get_as(other, "", &location).await;
            assert_eq!(reply.status, 403, "{other} reads {id}");
        }
        let list = "query($ws: String, $org: String, $user: String) {
            one: activityList(projectId: $ws, userId: $user, tagIds: [$user]) {
                activities { id: activityId uid todo { id } createdBy { id } project { id } } }
            company: activityList(companyId: $org, userId: $user) { totalCount }
        }";
        let variables = json!({ "ws": id, "org": id, "user": id });
        let list = list.replace("tagIds: [$user]", &format!("tagIds: [{}]", json!(id)));
        let answer = world.ask(id, "", &list, variables).await;
        let nodes = &answer["data"]["one"]["activities"];
        assert_eq!((&nodes[0]["id"], &nodes[0]["todo"]["id"]), (&json!(id), &json!(id)), "{answer}");
        assert_eq!(answer["data"]["company"]["totalCount"], 3, "{answer}");
        let uid = nodes[0]["uid"].as_str().unwrap();
        assert_eq!(uid.matches('/').count(), 1, "{uid}");
    }
    let contents = check(&world.client, &world.table).await;
    assert_eq!(contents.activities.len(), IDS.len());
    world.stop().await;
}

#[tokio::test]
async fn subscribers_get_activities_of_any_ids() {
    for &id in &["auth0|5f7c152e", "a/b?c=d&e#f", "~", "ws#AT#2025"] {
        let activities = received_by_a_member(id, creation(id, "org#1", id)).await;
        assert_eq!(activities, [(id.to_owned(), id.to_owned())]);
    }
}

#[tokio::test]
async fn equal_times_are_in_the_order_of_keys() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    let at = "2025-01-01T00:00:00Z";
    world.given(IDS.iter().map(|id| event(id, at))).await;
    let mut expected: Vec<&str> = IDS.to_vec();
    expected.sort_by_key(|id| domain::ids::ActivityId::parse("id", *id).unwrap());
    for limit in [1, 3, 200] {
        for order in ["asc", "desc"] {
            let first = format!("/api/v1/workspaces/ws/activity?since={at}&order={order}&limit={limit}");
            assert_eq!(world.walk("owner", &first, |_| {}).await, expected, "{first}");
            expected.reverse();
        }
    }
    check(&world.client, &world.table).await;
}

#[tokio::test]
async fn numeric_subject_is_a_member() {
    let world = World::new().await;
    world.given(creation("ws", "org", "1039")).await;
    let get = |sub: Value| {
        let claims = json!({ "sub": sub, "scope": "" });
        world.send("GET", "/api/v1/workspaces/ws/activity", Some(claims), &[], None)
    };
    assert_eq!(get(json!(1039)).await.status, 200);
    assert_eq!(get(json!("1039")).await.status, 200);
    assert_eq!(get(json!(10390)).await.status, 403);
    // Read as a double, two of these would be one user.
    assert_eq!(get(json!(1e30)).await.status, 401);
    assert_eq!(get(json!(["1039"])).await.status, 401);
}

#[tokio::test]
async fn invisible_characters_are_refused() {
    let world = World::new().await;
    world.given_workspace("ws").await;
    for bad in ["", "a\u{200b}", "\u{202e}a", "a\nb", "\u{feff}", &"é".repeat(129)] {
        for member in ["id", "issue_id", "actor_id"] {
            let mut event = event("x", "2025-01-01T00:00:00Z");
            event[member] = json!(bad);
            let reply = world.post("ws", &event.to_string(), &[]).await;
            assert_eq!((reply.status, &reply.body["field"]), (400, &json!(member)), "{bad:?}");
        }
    }
    let reply = world.get("/api/v1/workspaces/~x/activity").await;
    assert_eq!((reply.status, &reply.body["field"]), (400, &json!("ws_id")));
}
