//! The parameters of a list, in the query string.

mod table;

use std::ops::RangeInclusive;

use domain::filter::{Filter, FilterKind};
use domain::time::Timestamp;
use domain::{Error, Result};
use feeds::{Query, Scope, cursor};

use crate::response_size;
use table::{CURSOR, INCLUDE, Include, Kind, OFFSET, PROVENANCE, Values};

pub use table::{PARAMETERS, Parameter};

/// The number of entries of a page when the request does not say.
pub const DEFAULT_LIMIT: usize = 50;
/// The most entries of a page.
pub const MAX_LIMIT: usize = 200;
/// The most values of one filter. Each value is a partition to merge, or a condition to check.
pub const MAX_VALUES: usize = 20;

/// The longest part of an unknown parameter's name that an error repeats, in characters.
const MAX_SHOWN_NAME: usize = 64;

/// The parameters of one request, decoded.
#[derive(Debug, Clone)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes a query string.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a parameter that is not in [`PARAMETERS`], because a misspelt filter must not return
    /// everything.
    pub fn parse(query: &str) -> Result<Self> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let is_known = |name: &str| PARAMETERS.iter().any(|parameter| parameter.name == name);
        match pairs.iter().find(|(name, _)| !is_known(name)) {
            None => Ok(Self(pairs)),
            Some((unknown, _)) => {
                let unknown: String = unknown.chars().take(MAX_SHOWN_NAME).collect();
                let known: Vec<&str> = PARAMETERS.iter().map(|parameter| parameter.name).collect();
                let detail = format!("is not a parameter here; allowed are {}", known.join(", "));
                Err(Error::bad_input(unknown, detail))
            }
        }
    }

    /// The query for the page of `scope` that they describe.
    ///
    /// # Errors
    /// [`Error::BadInput`] of the parameter at fault.
    pub fn query(&self, scope: Scope) -> Result<Query> {
        let mut query = Query { max_bytes: response_size::MAX, ..Query::new(scope, DEFAULT_LIMIT) };
        for parameter in PARAMETERS {
            self.read(parameter, &mut query)?;
        }
        if query.since.zip(query.until).is_some_and(|(since, until)| since >= until) {
            return Err(Error::bad_input("since", "must be before until"));
        }
        if let Some(text) = self.single(CURSOR)? {
            if self.values(OFFSET).next().is_some() {
                return Err(Error::bad_input(OFFSET, "must not be given together with cursor"));
            }
            query.after = Some(cursor::decode(&query, CURSOR, text)?);
        }
        Ok(query)
    }

    fn read(&self, Parameter { name, kind, .. }: &Parameter, query: &mut Query) -> Result<()> {
        match kind {
            Kind::Filter(filter, Values::AnyOf, _) => {
                return add_values(&mut query.filter, *filter, name, self.values(name));
            }
            Kind::Include(choices) => {
                for text in self.values(name) {
                    query.total |= choose(name, text, choices)? == Include::Total;
                }
                return Ok(());
            }
            _ => {}
        }
        let Some(text) = self.single(name)? else { return Ok(()) };
        match kind {
            Kind::Limit(range) => {
                query.limit = usize::try_from(number(name, text, range)?).map_err(Error::internal)?;
            }
            Kind::Offset(range) => query.skip = number(name, text, range)?,
            Kind::Order(choices) => query.order = choose(name, text, choices)?,
            Kind::Since => query.since = Some(Timestamp::parse(name, text)?),
            Kind::Until => query.until = Some(Timestamp::parse(name, text)?),
            Kind::Filter(filter, ..) => query.filter.add(*filter, name, [text])?,
            // A cursor is decoded after all other parameters, because it is bound to their values.
            Kind::Include(_) | Kind::Cursor => {}
        }
        Ok(())
    }

    /// Whether the entries are to say when and by whom they were recorded.
    pub fn includes_provenance(&self) -> bool {
        self.values(INCLUDE).any(|text| text == PROVENANCE)
    }

    /// The same query string, for the page that begins at `cursor`.
    pub fn page_at(&self, cursor: &str) -> String {
        let same = self.0.iter().filter(|(name, _)| name != OFFSET && name != CURSOR);
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(same)
            .append_pair(CURSOR, cursor)
            .finish()
    }

    fn single(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::bad_input(name, "must be given once")),
            (value, None) => Ok(value),
        }
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Adds the values of one filter, any of which may match.
///
/// # Errors
/// [`Error::BadInput`] of `field` when there are more than [`MAX_VALUES`] different values, unless they are categories,
/// which the catalog bounds; or when one is malformed.
pub fn add_values<'a>(
    filter: &mut Filter,
    kind: FilterKind,
    field: &str,
    values: impl Iterator<Item = &'a str>,
) -> Result<()> {
    filter.add(kind, field, values)?;
    if kind != FilterKind::Category && filter.values(kind).len() > MAX_VALUES {
        return Err(Error::bad_input(field, format!("must have at most {MAX_VALUES} values")));
    }
    Ok(())
}

fn number(name: &str, text: &str, range: &RangeInclusive<u64>) -> Result<u64> {
    // `parse` would take a sign.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_digits && range.contains(&number) => Ok(number),
        _ => {
            let (min, max) = (range.start(), range.end());
            Err(Error::bad_input(name, format!("must be a whole number from {min} to {max}")))
        }
    }
}

fn choose<T: Copy>(name: &str, text: &str, choices: &[(&'static str, T)]) -> Result<T> {
    match choices.iter().find(|(choice, _)| *choice == text) {
        Some((_, value)) => Ok(*value),
        None => Err(Error::bad_input(name, format!("must be {}", table::names(choices).join(" or ")))),
    }
}

#[cfg(test)]
mod tests {
    use domain::filter::Order;
    use domain::ids::{ActivityId, WorkspaceId};
    use domain::position::{Bound, TimePosition};

    use super::*;

    fn scope() -> Scope {
        Scope::Workspace(WorkspaceId::parse("w", "ws-1").unwrap())
    }

    fn query(text: &str) -> Result<Query> {
        Params::parse(text)?.query(scope())
    }

    #[test]
    fn parameters_have_defaults() {
        let query = query("").unwrap();
        assert_eq!((query.limit, query.skip, query.order), (50, 0, Order::Descending));
        assert_eq!((query.total, query.max_bytes), (false, response_size::MAX));
        assert!(query.filter.is_empty());
    }

    #[test]
    fn every_parameter_is_read() {
        let text = "limit=200&offset=7&order=asc&actor_type=agent&actor_id=b&actor_id=a&actor_id=a&\
                    action=issue.created&tag=x&since=2025-01-01T00%3A00%3A00%2B01%3A00&until=2025-02-01T00:00:00&\
                    include=total";
        let query = query(text).unwrap();
        assert_eq!((query.limit, query.skip, query.order), (200, 7, Order::Ascending));
        let values = |kind| query.filter.values(kind);
        assert_eq!(values(FilterKind::ActorType), ["agent"]);
        assert_eq!(values(FilterKind::Actor), ["a", "b"]);
        assert_eq!((values(FilterKind::Action), values(FilterKind::Tag)), (vec!["issue.created"], vec!["x"]));
        assert_eq!(query.since.unwrap().to_string(), "2024-12-31T23:00:00");
        assert_eq!(query.until.unwrap().to_string(), "2025-02-01T00:00:00");
        assert!(query.total);
    }

    #[test]
    fn includes_are_independent_of_each_other() {
        for (text, total, provenance) in [
            ("", false, false),
            ("include=provenance", false, true),
            ("include=total&include=provenance", true, true),
            ("include=provenance&include=total&include=total", true, true),
        ] {
            let params = Params::parse(text).unwrap();
            let found = (params.query(scope()).unwrap().total, params.includes_provenance());
            assert_eq!(found, (total, provenance), "{text}");
        }
    }

    #[test]
    fn error_names_the_parameter_at_fault() {
        let many: String = (0..21).map(|n| format!("tag=t{n}&")).collect();
        for (text, start) in [
            ("limit=0", "limit: must be a whole number from 1 to 200"),
            ("limit=201", "limit: "),
            ("limit=-1", "limit: "),
            ("limit=%2B5", "limit: "),
            ("limit=", "limit: "),
            ("limit=1&limit=1", "limit: must be given once"),
            ("offset=-1", "offset: must be a whole number from 0 to 18446744073709551615"),
            ("offset=1.5", "offset: "),
            ("offset=18446744073709551616", "offset: "),
            ("order=DESC", "order: must be desc or asc"),
            ("include=all", "include: must be total or provenance"),
            ("include=total,provenance", "include: must be total or provenance"),
            ("include=total&include=", "include: must be total or provenance"),
            ("actor_type=bot", "actor_type: must be user or agent"),
            ("actor_type=user&actor_type=agent", "actor_type: must be given once"),
            ("actor_id=a%0Ab", "actor_id: "),
            ("actor_id=", "actor_id: "),
            ("action=created", "action: "),
            ("tag=a%09b", "tag: "),
            (&many, "tag: must have at most 20 values"),
            ("since=yesterday", "since: "),
            ("since=2025-01-02T00:00:00Z&until=2025-01-02T00:00:00Z", "since: must be before until"),
            ("cursor=abc", "cursor: "),
            ("cursor=abc&offset=0", "offset: must not be given together with cursor"),
            (
                "Limit=5",
                "Limit: is not a parameter here; allowed are limit, offset, cursor, order, actor_type, ",
            ),
            ("actorid=a", "actorid: is not a parameter here"),
        ] {
            let message = query(text).unwrap_err().to_string();
            assert!(message.starts_with(start), "{text}: {message:?} should start with {start:?}");
        }
    }

    #[test]
    fn next_page_keeps_the_filters() {
        let params = Params::parse("limit=2&offset=4&action=issue.created&action=issue.updated").unwrap();
        let query = params.query(scope()).unwrap();
        let created_at = Timestamp::parse("t", "2025-01-01T00:00:00Z").unwrap();
        let bound = Bound::from(TimePosition { created_at, id: ActivityId::parse("id", "act-1").unwrap() });
        let next = params.page_at(&cursor::encode(&query, &bound));
        assert!(next.starts_with("limit=2&action=issue.created&action=issue.updated&cursor="), "{next}");
        let again = Params::parse(&next).unwrap().query(scope()).unwrap();
        assert_eq!(again.after, Some(bound));
    }
}
