//! The enum of categories, which the catalog defines.

use std::borrow::Cow;
use std::sync::LazyLock;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::Field;
use async_graphql::registry::{MetaEnumValue, MetaType, Registry};
use async_graphql::resolver_utils::{EnumItem, EnumType, enum_value, parse_enum};
use async_graphql::{
    ContextSelectionSet, InputType, InputValueResult, OutputType, Positioned, ServerResult, Value,
};
use domain::catalog;

const NAME: &str = "ActivityCategory";

/// A category of the catalog, or OTHER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Category(pub(crate) &'static str);

static ITEMS: LazyLock<Vec<EnumItem<Category>>> = LazyLock::new(|| {
    let names = catalog::entries().iter().map(|entry| entry.category).chain([catalog::OTHER]);
    names.map(|name| EnumItem { name, value: Category(name) }).collect()
});

impl AsRef<str> for Category {
    fn as_ref(&self) -> &str {
        self.0
    }
}

impl EnumType for Category {
    fn items() -> &'static [EnumItem<Self>] {
        &ITEMS
    }
}

fn description(name: &str) -> String {
    let entry = catalog::of_category(name);
    entry.map_or("An action that is not in the catalog.", |entry| entry.description).to_owned()
}

fn register(registry: &mut Registry) -> String {
    registry.create_input_type::<Category, _>(async_graphql::registry::MetaTypeId::Enum, |_| {
        let values = ITEMS.iter().map(|item| {
            let value = MetaEnumValue {
                name: item.name.to_owned(),
                description: Some(description(item.name)),
                deprecation: Default::default(),
                visible: None,
                inaccessible: false,
                tags: Vec::new(),
                directive_invocations: Vec::new(),
            };
            (item.name.to_owned(), value)
        });
        MetaType::Enum {
            name: NAME.to_owned(),
            description: Some("The kind of an activity.".to_owned()),
            enum_values: values.collect::<IndexMap<_, _>>(),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: Some(std::any::type_name::<Category>()),
            directive_invocations: Vec::new(),
            requires_scopes: Vec::new(),
        }
    })
}

impl InputType for Category {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        register(registry)
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        parse_enum(value.unwrap_or_default())
    }

    fn to_value(&self) -> Value {
        enum_value(*self)
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }
}

impl OutputType for Category {
    fn type_name() -> Cow<'static, str> {
        NAME.into()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        register(registry)
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(enum_value(*self))
    }
}
