//! The schema: its file is current, and it has everything in the reference, with the same names and types.

use harness::World;
use serde_json::Value;

use super::data;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/graphql-api/schema.graphql");

/// The arguments, fields, categories and orders of the reference, in its order.
const ARGUMENTS: &str = "companyId: String, projectId: String, userId: String, userIds: [String!], tagIds: [String!], \
    categories: [ActivityCategory!], startDate: DateTime, endDate: DateTime, skip: Int, first: Int, last: Int, \
    after: String, before: String, orderBy: ActivityOrderByInput";
const ACTIVITY: &str = "id: ID!, uid: String!, category: ActivityCategory!, html: String!, createdAt: DateTime!, \
    updatedAt: DateTime!, createdBy: User!, affectedBy: User, company: Company, project: Project, todo: Todo, \
    todoList: TodoList, comment: Comment, discussion: Discussion, statusUpdate: StatusUpdate, metadata: String";
/// The fields of an activity beyond the reference.
const MORE: &str = "recordedAt: DateTime, recordedBy: RecordedBy, activityId: ID!";
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
fn schema_file_is_current() {
    let current = graphql_api::sdl();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(FILE, &current).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap();
    assert!(file == current, "schema.graphql is out of date; run UPDATE_SCHEMA=1 cargo test -p tests schema");
}

/// A type in GraphQL's notation.
fn type_name(kind: &Value) -> String {
    let inner = || type_name(&kind["ofType"]);
    match kind["kind"].as_str() {
        Some("NON_NULL") => format!("{}!", inner()),
        Some("LIST") => format!("[{}]", inner()),
        _ => kind["name"].as_str().unwrap().to_owned(),
    }
}

/// Fields or arguments with their types.
fn signatures(fields: &Value) -> String {
    let all: Vec<String> = fields
        .as_array()
        .unwrap()
        .iter()
        .map(|field| format!("{}: {}", field["name"].as_str().unwrap(), type_name(&field["type"])))
        .collect();
    all.join(", ")
}

fn names(values: &Value) -> Vec<&str> {
    values.as_array().unwrap().iter().map(|value| value["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn schema_has_everything_in_the_reference() {
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
    assert_eq!(signatures(lists), "activityList: ActivityList!");
    assert_eq!(signatures(&lists[0]["args"]), ARGUMENTS);
    assert_eq!(signatures(&schema["list"]["fields"]), LIST);
    assert_eq!(signatures(&schema["activity"]["fields"]), format!("{ACTIVITY}, {MORE}"));
    let deprecated =
        schema["activity"]["all"].as_array().unwrap().iter().filter(|field| field["isDeprecated"] == true);
    assert_eq!(deprecated.map(|field| &field["name"]).collect::<Vec<_>>(), ["text"]);
    let categories = names(&schema["category"]["enumValues"]);
    for category in CATEGORIES {
        assert!(categories.contains(category), "{category}");
    }
    assert_eq!(names(&schema["order"]["enumValues"]), ORDERS);
    // GraphQL cannot record activities.
    assert_eq!(schema["__schema"]["mutationType"], Value::Null);
    assert_eq!(world.transport.take_metered().total(), 0, "introspection reads nothing");
}
