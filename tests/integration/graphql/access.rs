//! Access: role, category, privacy and tracking, in the feeds of a project and of a company.

use std::collections::BTreeSet;

use harness::World;
use serde_json::{Value, json};

use super::{data, refusal, workspace_events};

/// The category that owners and admins see while tracking is off.
const SETTINGS: &str = "UPDATE_PROJECT_SETTINGS";

/// The categories of the reference and that of settings, each with an event, and whether it is for staff only.
fn categories() -> Vec<(&'static str, Value, bool)> {
    let event = |action: &str, details: Value| json!({ "action": action, "details": details });
    vec![
        ("CREATE_TODO", event("issue.created", json!({ "title": "Fix", "identifier": "I-1" })), false),
        ("MARK_TODO_AS_COMPLETE", event("issue.completed", json!({})), false),
        ("CREATE_COMMENT", event("comment.created", json!({ "text": "Hello" })), false),
        (
            "CREATE_DISCUSSION",
            event("discussion.created", json!({ "discussion": "d-1", "title": "Talk" })),
            false,
        ),
        (
            "CREATE_STATUS_UPDATE",
            event("status_update.created", json!({ "status_update": "s-1", "text": "On" })),
            false,
        ),
        ("CREATE_TODO_LIST", event("issue_list.created", json!({ "list": "l-1", "title": "Doing" })), false),
        ("MOVE_TODO", event("issue.moved", json!({ "to_list": "l-1" })), false),
        ("COPY_TODO", event("issue.copied", json!({ "copy": "issue-2" })), false),
        ("ADD_USER_TO_PROJECT", event("member.added", json!({ "user": "new", "role": "member" })), true),
        ("REMOVE_USER_FROM_PROJECT", event("member.removed", json!({ "user": "old" })), true),
        ("ARCHIVE_PROJECT", event("workspace.archived", json!({})), false),
        ("UNARCHIVE_PROJECT", event("workspace.unarchived", json!({})), false),
        ("CREATE_INVITATION", event("invitation.created", json!({})), true),
        ("ACCEPT_INVITATION", event("invitation.accepted", json!({})), true),
        ("CREATE_CUSTOM_FIELD", event("custom_field.created", json!({})), true),
        (SETTINGS, event("workspace.settings_updated", json!({})), true),
        ("RECEIVE_FORM", event("form.received", json!({ "form": "f-1" })), false),
        ("OTHER", event("deploy.finished", json!({})), true),
    ]
}

const ROLES: [(&str, &str); 4] =
    [("olga", "owner"), ("adam", "admin"), ("mia", "member"), ("carl", "client")];

/// A workspace for every combination of privacy and tracking.
const WORKSPACES: [(&str, &str, bool); 4] = [
    ("open", "members", true),
    ("closed", "admins", true),
    ("open-off", "members", false),
    ("closed-off", "admins", false),
];

async fn world() -> World {
    let world = World::new().await;
    for (ws, privacy, tracked) in WORKSPACES {
        let mut events = workspace_events(
            ws,
            json!({ "name": ws, "slug": format!("the-{ws}"), "organization": "org" }),
            &ROLES,
        );
        let settings = json!({ "privacy": privacy, "activity_enabled": tracked });
        events.push(json!({
            "id": "settings", "workspace_id": ws, "actor_type": "user", "actor_id": "maker",
            "action": "workspace.settings_updated", "details": settings.clone(), "created_at": "2020-01-02T00:00:00Z"
        }));
        for (category, mut event, _) in categories() {
            if category == SETTINGS {
                event["details"] = settings.clone();
            }
            event["id"] = json!(category);
            event["workspace_id"] = json!(ws);
            event["issue_id"] = json!("issue-1");
            event["actor_type"] = json!("user");
            event["actor_id"] = json!("worker");
            event["created_at"] = json!("2024-01-01T00:00:00Z");
            events.push(event);
        }
        world.given(events).await;
    }
    world
}

/// The uids that a list has and counts, or the code of its error.
async fn listed_uids(world: &World, sub: &str, scope: &str, arguments: &str) -> Result<Vec<String>, String> {
    let query = format!(
        "{{ activityList({arguments}, userId: \"worker\", first: 200) {{ activities {{ uid }} totalCount }} }}"
    );
    let answer = world.ask(sub, scope, &query, Value::Null).await;
    if let Some(error) = answer.get("errors") {
        return Err(error[0]["extensions"]["code"].as_str().unwrap().to_owned());
    }
    let list = &answer["data"]["activityList"];
    let uids: Vec<String> = list["activities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["uid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(list["totalCount"], uids.len(), "{sub}: {query}");
    Ok(uids)
}

/// The workspaces in which a role may see a category.
fn visible(role: &str, category: &str, staff: bool) -> Vec<&'static str> {
    let sees = |(_, privacy, tracked): &&(&str, &str, bool)| {
        (*tracked || category == SETTINGS && matches!(role, "owner" | "admin"))
            && match role {
                "owner" | "admin" => true,
                "member" => *privacy == "members",
                "client" => *privacy == "members" && !staff,
                _ => false,
            }
    };
    WORKSPACES.iter().filter(sees).map(|(ws, ..)| *ws).collect()
}

#[tokio::test]
async fn role_privacy_and_tracking_decide_visibility() {
    let world = world().await;
    for (category, _, staff) in categories() {
        let uid = |ws: &str| format!("{ws}/{category}");
        // Activities of one time and id are in the order of their workspaces.
        let in_order = |mut workspaces: Vec<&str>| -> Vec<String> {
            workspaces.sort_unstable();
            workspaces.into_iter().map(uid).collect()
        };
        for (user, role) in ROLES {
            for (ws, privacy, _) in WORKSPACES {
                let may = privacy == "members" || matches!(role, "owner" | "admin");
                let expected = match (may, visible(role, category, staff).contains(&ws)) {
                    (false, _) => Err("FORBIDDEN".to_owned()),
                    (true, true) => Ok(vec![uid(ws)]),
                    (true, false) => Ok(vec![]),
                };
                for name in [ws.to_owned(), format!("the-{ws}")] {
                    let arguments = format!("projectId: \"{name}\", categories: [{category}]");
                    let listed = listed_uids(&world, user, "", &arguments).await;
                    assert_eq!(listed, expected, "{role}: {category} in {name}");
                }
            }
            let all = in_order(visible(role, category, staff));
            for scope in ["companyId: \"org\", ", ""] {
                for order in ["createdAt_ASC", "category_ASC"] {
                    let arguments = format!("{scope}categories: [{category}], orderBy: {order}");
                    assert_eq!(
                        listed_uids(&world, user, "", &arguments).await,
                        Ok(all.clone()),
                        "{role}: {arguments}"
                    );
                }
            }
        }
        let all = in_order(WORKSPACES.map(|(ws, ..)| ws).into());
        let arguments = format!("companyId: \"org\", categories: [{category}], orderBy: createdAt_ASC");
        assert_eq!(listed_uids(&world, "service", "activity:read", &arguments).await, Ok(all));
        assert_eq!(listed_uids(&world, "stranger", "", &arguments).await, Err("FORBIDDEN".into()));
        let nothing = format!("categories: [{category}]");
        assert_eq!(listed_uids(&world, "stranger", "", &nothing).await, Ok(vec![]));
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn access_changes_apply_to_older_activities() {
    let world = world().await;
    let feed = "companyId: \"org\", categories: [CREATE_TODO]";
    assert_eq!(listed_uids(&world, "mia", "", feed).await, Ok(vec!["open/CREATE_TODO".into()]));
    let change = |id: &str, action: &str, details: Value| {
        json!({
            "id": id, "workspace_id": "open", "actor_type": "user", "actor_id": "maker", "action": action,
            "details": details, "created_at": "2025-01-01T00:00:00Z"
        })
    };
    world.given([change("private", "workspace.settings_updated", json!({ "privacy": "admins" }))]).await;
    assert_eq!(listed_uids(&world, "mia", "", feed).await, Ok(vec![]));
    let mut public = change("public", "workspace.settings_updated", json!({ "privacy": "members" }));
    public["created_at"] = json!("2025-01-02T00:00:00Z");
    world.given([public]).await;
    assert_eq!(listed_uids(&world, "mia", "", feed).await, Ok(vec!["open/CREATE_TODO".into()]));
    world.given([change("out", "member.removed", json!({ "user": "mia" }))]).await;
    assert_eq!(listed_uids(&world, "mia", "", feed).await, Ok(vec![]));
    let query = "{ activityList(projectId: \"open\") { totalCount } }";
    let expected = "You do not have permission to view activities for this project";
    assert_eq!(refusal(&world, "mia", query).await, (expected.into(), "FORBIDDEN".into()));
}

#[tokio::test]
async fn moved_workspace_is_listed_once_in_its_new_company() {
    let world = World::new().await;
    let of = |organization: &str| json!({ "name": "W", "organization": organization });
    for n in 0..7 {
        world.given(workspace_events(&format!("w{n}"), of("old"), &[("reader", "member")])).await;
    }
    let event = |id: &str, action: &str, details: Value| {
        json!({
            "id": id, "workspace_id": "w0", "issue_id": "issue-1", "actor_type": "user", "actor_id": "maker",
            "action": action, "details": details, "created_at": "2025-01-01T00:00:00Z"
        })
    };
    world.given([event("before", "issue.completed", json!({}))]).await;
    world.given([event("moved", "workspace.created", of("new"))]).await;
    world.given([event("then", "issue.completed", json!({}))]).await;
    let uids = async |arguments: &str| {
        let query =
            format!("{{ activityList({arguments}, first: 200) {{ activities {{ uid }} totalCount }} }}");
        let answer = world.ask("reader", "", &query, Value::Null).await;
        let list = &answer["data"]["activityList"];
        let nodes = list["activities"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).iter();
        let uids: Vec<String> = nodes.map(|node| node["uid"].as_str().unwrap().to_owned()).collect();
        if !arguments.contains("skip") {
            assert_eq!(list["totalCount"], uids.len(), "{query}");
        }
        uids
    };
    let done = "categories: [MARK_TODO_AS_COMPLETE], orderBy: createdAt_ASC";
    for (scope, expected) in [
        ("", &["w0/before", "w0/then"][..]),
        ("companyId: \"new\", ", &["w0/before", "w0/then"]),
        ("companyId: \"old\", ", &[]),
    ] {
        assert_eq!(uids(&format!("{scope}{done}")).await, expected, "{scope}");
    }
    // Without a filter, the old company's partition is read, which still has the activities from before the move.
    for (scope, expected) in [("", 17), ("companyId: \"new\", ", 5), ("companyId: \"old\", ", 12)] {
        let all = uids(&format!("{scope}orderBy: createdAt_ASC")).await;
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), expected, "{scope}: {all:?}");
        assert_eq!(all.len(), expected, "{scope}: {all:?}");
        // Offsets use the counters, which count the same.
        for skip in 1..expected {
            let rest = uids(&format!("{scope}orderBy: createdAt_ASC, skip: {skip}")).await;
            assert_eq!(rest, all[skip..], "{scope}: {skip}");
        }
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn slug_resolves_among_readable_projects() {
    let world = World::new().await;
    let slug = |organization: &str| {
        json!({ "name": organization, "slug": "marketing", "organization": organization,
                                            "organization_slug": "acme" })
    };
    world.given(workspace_events("ws-a", slug("org-a"), &[("owner", "owner"), ("both", "member")])).await;
    world.given(workspace_events("ws-b", slug("org-b"), &[("other", "owner"), ("both", "member")])).await;
    // A slug that equals another workspace's id names nothing.
    let shadow = json!({ "name": "Shadow", "slug": "ws-a", "organization": "org-b" });
    world.given(workspace_events("ws-c", shadow, &[("other", "owner")])).await;
    let projects =
        "{ activityList(projectId: \"marketing\", first: 1) { activities { project { id slug } } } }";
    let found = data(&world, projects).await;
    assert_eq!(
        found["activityList"]["activities"][0]["project"],
        json!({ "id": "ws-a", "slug": "marketing" })
    );
    let found = world.ask("other", "", projects, Value::Null).await;
    assert_eq!(found["data"]["activityList"]["activities"][0]["project"]["id"], "ws-b");
    let (message, code) = refusal(&world, "both", projects).await;
    assert_eq!(code, "BAD_USER_INPUT", "{message}");
    assert!(message.starts_with("projectId: is the slug of several"), "{message}");
    let narrowed = projects.replace("first: 1", "first: 1, companyId: \"org-b\"");
    let found = world.ask("both", "", &narrowed, Value::Null).await;
    assert_eq!(found["data"]["activityList"]["activities"][0]["project"]["id"], "ws-b");
    let (_, code) = refusal(&world, "stranger", projects).await;
    assert_eq!(code, "FORBIDDEN");
    let by_id = projects.replace("marketing", "ws-a");
    let found = data(&world, &by_id).await;
    assert_eq!(found["activityList"]["activities"][0]["project"]["id"], "ws-a");
    let companies = "{ activityList(companyId: \"acme\") { activities { company { id slug } } } }";
    let found = data(&world, companies).await;
    assert_eq!(found["activityList"]["activities"][0]["company"], json!({ "id": "org-a", "slug": "acme" }));
    let (message, _) = refusal(&world, "both", companies).await;
    assert_eq!(message, "companyId: is the slug of several companies; give the company's id");
    // A former slug names nothing any more.
    let mut renamed =
        workspace_events("ws-a", json!({ "name": "A", "slug": "sales", "organization": "org-a" }), &[]);
    renamed[0]["id"] = json!("renamed");
    renamed[0]["created_at"] = json!("2021-01-01T00:00:00Z");
    world.given(renamed).await;
    let found = world.ask("both", "", projects, Value::Null).await;
    assert_eq!(found["data"]["activityList"]["activities"][0]["project"]["id"], "ws-b");
    let (_, code) = refusal(&world, "owner", projects).await;
    assert_eq!(code, "FORBIDDEN");
    harness::check(&world.client, &world.table).await;
    // Another tenant's workspace id does not hide a slug.
    let own = json!({ "name": "Own", "slug": "ws-z", "organization": "org-a" });
    world.given(workspace_events("ws-own", own, &[("owner", "owner")])).await;
    world.given(workspace_events("ws-z", json!({ "name": "Z" }), &[("other", "owner")])).await;
    let by_slug = "{ activityList(projectId: \"ws-z\", first: 1) { activities { project { id } } } }";
    let found = data(&world, by_slug).await;
    assert_eq!(found["activityList"]["activities"][0]["project"]["id"], "ws-own");
    let (_, code) = refusal(&world, "both", by_slug).await;
    assert_eq!(code, "FORBIDDEN");
    // A company's slug names it for all its projects, although only one project's event gave the slug.
    let web = |organization: &str| json!({ "name": "Web", "slug": "web", "organization": organization });
    world.given(workspace_events("web-1", web("org-1"), &[("owner", "owner")])).await;
    world.given(workspace_events("web-2", web("org-2"), &[("owner", "owner")])).await;
    let named = json!({ "name": "Named", "organization": "org-1", "organization_slug": "one" });
    world.given(workspace_events("named", named, &[("other", "owner")])).await;
    for project in ["web", "web-1"] {
        let query = format!(
            "{{ activityList(projectId: \"{project}\", companyId: \"one\", first: 1) {{ activities {{ project {{ id }} }} }} }}"
        );
        assert_eq!(data(&world, &query).await["activityList"]["activities"][0]["project"]["id"], "web-1");
    }
    let company = "{ activityList(companyId: \"one\", first: 1) { activities { project { id } } } }";
    assert_eq!(data(&world, company).await["activityList"]["activities"][0]["project"]["id"], "web-1");
}
