//! The schema: its file is current, and it has all that the reference lists, under those names and with those types.

use harness::World;
use serde_json::Value;

use super::data;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions/graphql/schema.graphql");

/// The reference's tables, in their order.
const ARGUMENTS: &str = "companyId: String, projectId: String, userId: String, userIds: [String!], tagIds: [String!], \
    categories: [ActivityCategory!], startDate: DateTime, endDate: DateTime, skip: Int, first: Int, last: Int, \
    after: String, before: String, orderBy: ActivityOrderByInput";
const ACTIVITY: &str = "id: ID!, uid: String!, category: ActivityCategory!, html: String!, createdAt: DateTime!, \
    updatedAt: DateTime!, createdBy: User!, affectedBy: User, company: Company, project: Project, todo: Todo, \
    todoList: TodoList, comment: Comment, discussion: Discussion, statusUpdate: StatusUpdate, metadata: String";
const LIST: &str = "activities: [Activity!]!, pageInfo: PageInfo!, totalCount: Int!";
const CATEGORIES: &[&str] = &[
    "CREATE_TODO",
    "MARK_TODO_AS_COMPLETE",
    "CREATE_COMMENT",
    "CREATE_DISCUSSION",
    "CREATE_STATUS_UPDATE",
    "CREATE_TODO_LIST",
    "MOVE_TODO",
    "COPY_TODO",
    "ADD_USER_TO_PROJECT",
    "REMOVE_USER_FROM_PROJECT",
    "ARCHIVE_PROJECT",
    "UNARCHIVE_PROJECT",
    "CREATE_INVITATION",
    "ACCEPT_INVITATION",
    "CREATE_CUSTOM_FIELD",
    "RECEIVE_FORM",
];
const ORDERS: &[&str] =
    &["createdAt_DESC", "createdAt_ASC", "updatedAt_DESC", "updatedAt_ASC", "category_ASC", "category_DESC"];

#[test]
fn the_file_is_current() {
    let current = graphql::sdl();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(FILE, &current).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap();
    assert!(file == current, "schema.graphql is out of date; run UPDATE_SCHEMA=1 cargo test -p tests schema");
}

/// A type as GraphQL writes it.
fn written(kind: &Value) -> String {
    let inner = || written(&kind["ofType"]);
    match kind["kind"].as_str() {
        Some("NON_NULL") => format!("{}!", inner()),
        Some("LIST") => format!("[{}]", inner()),
        _ => kind["name"].as_str().unwrap().to_owned(),
    }
}

/// Fields or arguments with their types, but those marked as deprecated.
fn listed(fields: &Value) -> String {
    let all: Vec<String> = fields
        .as_array()
        .unwrap()
        .iter()
        .map(|field| format!("{}: {}", field["name"].as_str().unwrap(), written(&field["type"])))
        .collect();
    all.join(", ")
}

fn names(values: &Value) -> Vec<&str> {
    values.as_array().unwrap().iter().map(|value| value["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_has_what_the_reference_lists() {
    let world = World::new().await;
    let kind = "type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";
    let query = format!(
        "{{ __schema {{ queryType {{ name }} mutationType {{ name }} }}
            query: __type(name: \"Query\") {{ fields {{ name args {{ name {kind} }} {kind} }} }}
            list: __type(name: \"ActivityList\") {{ fields {{ name {kind} }} }}
            activity: __type(name: \"Activity\") {{ fields {{ name {kind} }} all: fields(includeDeprecated: true) {{
                name isDeprecated }} }}
            category: __type(name: \"ActivityCategory\") {{ enumValues {{ name }} }}
            order: __type(name: \"ActivityOrderByInput\") {{ enumValues {{ name }} }} }}"
    );
    let schema = data(&world, &query).await;
    let lists = &schema["query"]["fields"];
    assert_eq!(listed(lists), "activityList: ActivityList!");
    assert_eq!(listed(&lists[0]["args"]), ARGUMENTS);
    assert_eq!(listed(&schema["list"]["fields"]), LIST);
    assert_eq!(listed(&schema["activity"]["fields"]), ACTIVITY);
    let deprecated =
        schema["activity"]["all"].as_array().unwrap().iter().filter(|field| field["isDeprecated"] == true);
    assert_eq!(deprecated.map(|field| &field["name"]).collect::<Vec<_>>(), ["text"]);
    let categories = names(&schema["category"]["enumValues"]);
    for category in CATEGORIES {
        assert!(categories.contains(category), "{category}");
    }
    assert_eq!(names(&schema["order"]["enumValues"]), ORDERS);
    // Activities cannot be created here.
    assert_eq!(schema["__schema"]["mutationType"], Value::Null);
    assert_eq!(world.transport.take().total(), 0, "introspection reads nothing");
}
