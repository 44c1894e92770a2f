//! Ids and slugs: no tenant takes another's name, and none makes another's reader read without bound.

use std::collections::BTreeSet;

use harness::World;
use serde_json::{Value, json};

use super::workspace_events;

/// The projects of a list, or the message of its error.
async fn projects(world: &World, sub: &str, arguments: &str) -> Result<Vec<String>, String> {
    let scope = if sub == "service" { "activity:read" } else { "" };
    let arguments =
        if arguments.is_empty() { "first: 200".into() } else { format!("{arguments}, first: 200") };
    let query = format!("{{ activityList({arguments}) {{ activities {{ project {{ id }} }} }} }}");
    let answer = world.ask(sub, scope, &query, Value::Null).await;
    if let Some(error) = answer.get("errors") {
        return Err(error[0]["message"].as_str().unwrap().to_owned());
    }
    let nodes = answer["data"]["activityList"]["activities"].as_array().unwrap().iter();
    let ids: BTreeSet<&str> = nodes.map(|node| node["project"]["id"].as_str().unwrap()).collect();
    Ok(ids.into_iter().map(str::to_owned).collect())
}

fn named(projects: &[&str]) -> Result<Vec<String>, String> {
    Ok(projects.iter().map(|id| (*id).to_owned()).collect())
}

fn organization(id: &str, slug: Option<&str>) -> Value {
    json!({ "name": id, "organization": id, "organization_slug": slug })
}

/// The workspaces of an honest company with the slug `acme`, which was recorded with only one of them.
async fn given_acme(world: &World) {
    let members = [("ada", "member")];
    let web = json!({ "name": "Web", "slug": "web", "organization": "org-1" });
    world.given(workspace_events("ws-web", web, &members)).await;
    world
        .given(workspace_events("ws-app", json!({ "name": "App", "organization": "org-1" }), &members))
        .await;
    let slug = organization("org-1", Some("acme"));
    world.given(workspace_events("ws-office", slug, &[("boss", "owner")])).await;
}

/// A workspace that nobody but its owners and admins sees, with `ada` as a member.
async fn given_private(world: &World, ws: &str, details: Value) {
    let mut events = workspace_events(ws, details, &[("ada", "member")]);
    events.push(json!({
        "id": "private", "workspace_id": ws, "actor_type": "user", "actor_id": "mallory",
        "action": "workspace.settings_updated", "details": { "privacy": "admins" },
        "created_at": "2020-01-02T00:00:00Z"
    }));
    world.given(events).await;
}

/// All ways in which the readers of the company name it and its projects.
async fn check_acme(world: &World) {
    for reader in ["ada", "service"] {
        let all: &[&str] =
            if reader == "ada" { &["ws-app", "ws-web"] } else { &["ws-app", "ws-office", "ws-web"] };
        for company in ["org-1", "acme"] {
            let found = projects(world, reader, &format!("companyId: \"{company}\"")).await;
            assert_eq!(found, named(all), "{reader}: {company}");
            for project in ["ws-web", "web"] {
                let arguments = format!("projectId: \"{project}\", companyId: \"{company}\"");
                assert_eq!(
                    projects(world, reader, &arguments).await,
                    named(&["ws-web"]),
                    "{reader}: {arguments}"
                );
            }
        }
    }
    assert_eq!(projects(world, "ada", "projectId: \"web\"").await, named(&["ws-web"]));
}

#[tokio::test]
async fn company_is_found_by_its_own_names() {
    let world = World::new().await;
    given_acme(&world).await;
    check_acme(&world).await;
    // Others call themselves by the id as their slug.
    world
        .given(workspace_events("by-slug", organization("evil-1", Some("org-1")), &[("mallory", "owner")]))
        .await;
    check_acme(&world).await;
    // The reader is made a member of a project that they do not see.
    let evil = json!({
        "name": "W", "slug": "web", "organization": "evil-2", "organization_slug": "org-1"
    });
    given_private(&world, "a-private", evil).await;
    given_private(
        &world,
        "b-private",
        json!({ "name": "ws-web", "slug": "ws-web", "organization": "evil-3" }),
    )
    .await;
    for (arguments, found) in [
        ("companyId: \"acme\"", &["ws-app", "ws-web"][..]),
        ("companyId: \"org-1\"", &["ws-app", "ws-web"]),
        ("projectId: \"web\"", &["ws-web"]),
        ("projectId: \"web\", companyId: \"org-1\"", &["ws-web"]),
    ] {
        assert_eq!(projects(&world, "ada", arguments).await, named(found), "{arguments}");
    }
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn unseen_companies_do_not_make_a_slug_ambiguous() {
    let world = World::new().await;
    given_acme(&world).await;
    let own = organization("org-1", Some("acme"));
    world.given(workspace_events("ws-hall", own, &[("ada", "member")])).await;
    given_private(&world, "private", organization("evil-1", Some("acme"))).await;
    world
        .given(workspace_events("other", organization("evil-2", Some("acme")), &[("mallory", "owner")]))
        .await;
    let all = named(&["ws-app", "ws-hall", "ws-web"]);
    assert_eq!(projects(&world, "ada", "companyId: \"acme\"").await, all);
    let web = "projectId: \"web\", companyId: \"acme\"";
    assert_eq!(projects(&world, "ada", web).await, named(&["ws-web"]));
    // The service sees all of them.
    let several = Err("companyId: is the slug of several companies; give the company's id".to_owned());
    assert_eq!(projects(&world, "service", "companyId: \"acme\"").await, several);
    assert_eq!(projects(&world, "service", web).await, named(&["ws-web"]));
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn project_of_a_company_is_not_lost_to_an_id() {
    let world = World::new().await;
    given_acme(&world).await;
    // Another company's id is the slug.
    world.given(workspace_events("evil", organization("acme", None), &[("mallory", "owner")])).await;
    for company in ["org-1", "acme"] {
        for (project, found) in [("ws-web", "ws-web"), ("web", "ws-web")] {
            let arguments = format!("projectId: \"{project}\", companyId: \"{company}\"");
            assert_eq!(projects(&world, "ada", &arguments).await, named(&[found]), "{arguments}");
            assert_eq!(projects(&world, "service", &arguments).await, named(&[found]), "{arguments}");
        }
        let arguments = format!("companyId: \"{company}\"");
        assert_eq!(projects(&world, "ada", &arguments).await, named(&["ws-app", "ws-web"]), "{arguments}");
    }
    // For whoever sees both, an id comes before a slug.
    assert_eq!(projects(&world, "service", "companyId: \"acme\"").await, named(&["evil"]));
    // A company that everything has left has no id any more.
    let mut moved = workspace_events("evil", organization("evil", None), &[]);
    moved[0]["id"] = json!("moved");
    moved[0]["created_at"] = json!("2021-01-01T00:00:00Z");
    world.given(moved).await;
    check_acme(&world).await;
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn taking_a_slug_often_does_not_hide_it() {
    let world = World::new().await;
    given_acme(&world).await;
    let evil = |n: usize| {
        let details = json!({ "name": "W", "slug": "web", "organization": format!("evil-{n}") });
        workspace_events(&format!("a-{n:04}"), details, &[])
    };
    world.given((0..110).flat_map(evil)).await;
    check_acme(&world).await;
    let many = "projectId: is the slug of several projects; give the project's id, or companyId too";
    assert_eq!(projects(&world, "service", "projectId: \"web\"").await, Err(many.into()));
    let forbidden = "You do not have permission to view activities for this project";
    assert_eq!(projects(&world, "stranger", "projectId: \"web\"").await, Err(forbidden.into()));
    assert_eq!(
        projects(&world, "stranger", "projectId: \"web\", companyId: \"acme\"").await,
        Err(forbidden.into())
    );
    harness::check(&world.client, &world.table).await;
}

#[tokio::test]
async fn memberships_beyond_the_budget_leave_a_company_readable() {
    let world = World::new().await;
    given_acme(&world).await;
    let flood = |n: usize| {
        workspace_events(&format!("flood-{n:04}"), organization("flood", None), &[("ada", "member")])
    };
    for first in (0..1_000).step_by(200) {
        world.given((first..first + 200).flat_map(flood)).await;
    }
    let too_many = "projectId: is required: access to more than 1000 projects cannot be checked at once";
    world.transport.take_metered();
    assert_eq!(projects(&world, "ada", "").await, Err(too_many.into()));
    // One request lists them, and none reads their entries.
    assert_eq!(world.transport.take_metered().total(), 1);
    check_acme(&world).await;
    for (company, requests) in [("org-1", 6), ("acme", 10)] {
        world.transport.take_metered();
        let found = projects(&world, "ada", &format!("companyId: \"{company}\"")).await;
        assert_eq!(found, named(&["ws-app", "ws-web"]));
        let metered = world.transport.take_metered();
        assert_eq!(metered.total(), requests, "{company}: {metered:?}");
    }
    assert_eq!(projects(&world, "ada", "projectId: \"flood-0007\"").await, named(&["flood-0007"]));
    // As many as can be checked.
    assert_eq!(projects(&world, "service", "companyId: \"flood\"").await.unwrap().len(), 200);
    world.given(flood(1_000)).await;
    assert_eq!(projects(&world, "service", "companyId: \"flood\"").await, Err(too_many.into()));
    assert_eq!(projects(&world, "ada", "companyId: \"flood\"").await, Err(too_many.into()));
    harness::check(&world.client, &world.table).await;
}
