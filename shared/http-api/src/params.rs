//! The parameters of a list, from the query string.

use std::collections::BTreeSet;

use crate::activity::{Action, ActorType};
use crate::feed::{Filter, Order, Query, Scope, cursor};
use crate::ids::{ActorId, Tag};
use crate::keys::Position;
use crate::time::Timestamp;
use crate::{Error, Result};

/// Entries of a page when nothing is said.
pub const DEFAULT_LIMIT: usize = 50;
/// The most entries of a page.
pub const MAX_LIMIT: usize = 200;
/// The most values of a repeatable parameter: each is a partition to merge, or a condition to check.
pub const MAX_VALUES: usize = 20;

const NAMES: &[&str] = &[
    "limit",
    "offset",
    "cursor",
    "order",
    "actor_type",
    "actor_id",
    "action",
    "tag",
    "since",
    "until",
    "include",
];

/// A query string's parameters, decoded.
#[derive(Debug, Clone)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Decodes a query string.
    ///
    /// # Errors
    /// [`Error::BadInput`] of a parameter that no list has: a misspelt filter must not return everything.
    pub fn parse(query: &str) -> Result<Self> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        match pairs.iter().find(|(name, _)| !NAMES.contains(&name.as_str())) {
            None => Ok(Self(pairs)),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Error::bad_input(
                    name,
                    format!("is not a parameter here; allowed are {}", NAMES.join(", ")),
                ))
            }
        }
    }

    /// The page they ask for.
    ///
    /// # Errors
    /// [`Error::BadInput`] of the parameter at fault.
    pub fn query(&self, scope: Scope) -> Result<Query> {
        let limit = self.number("limit", 1, MAX_LIMIT as u64)?.map_or(Ok(DEFAULT_LIMIT), usize::try_from);
        let order = match self.single("order")? {
            None | Some("desc") => Order::Descending,
            Some("asc") => Order::Ascending,
            Some(_) => return Err(Error::bad_input("order", "must be desc or asc")),
        };
        let total = match self.single("include")? {
            None => false,
            Some("total") => true,
            Some(_) => return Err(Error::bad_input("include", "must be total")),
        };
        let time = |name| self.single(name)?.map(|text| Timestamp::parse(name, text)).transpose();
        let (since, until) = (time("since")?, time("until")?);
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            return Err(Error::bad_input("since", "must be before until"));
        }
        let filter = Filter {
            actor_type: self
                .single("actor_type")?
                .map(|text| ActorType::parse("actor_type", text))
                .transpose()?,
            actors: self.many("actor_id", |text| ActorId::parse("actor_id", text))?,
            actions: self.many("action", |text| Action::parse("action", text))?,
            tags: self.many("tag", |text| Tag::parse("tag", text))?,
            ..Filter::default()
        };
        let offset = self.number("offset", 0, u64::MAX)?;
        let limit = limit.map_err(Error::internal)?;
        let skip = offset.unwrap_or(0);
        let mut query = Query { filter, since, until, order, skip, total, ..Query::new(scope, limit) };
        if let Some(text) = self.single("cursor")? {
            if offset.is_some() {
                return Err(Error::bad_input("offset", "must not be given together with cursor"));
            }
            query.after = Some(cursor::decode(&query, "cursor", text)?);
        }
        Ok(query)
    }

    /// The same query string, for the page that begins at `next`.
    pub fn next(&self, query: &Query, next: &Position) -> String {
        let same = self.0.iter().filter(|(name, _)| name != "offset" && name != "cursor");
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(same)
            .append_pair("cursor", &cursor::encode(query, next))
            .finish()
    }

    fn single(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::bad_input(name, "must be given once")),
            (value, None) => Ok(value),
        }
    }

    fn many<T: Ord>(&self, name: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
        // A value given twice selects nothing more.
        let values: BTreeSet<T> = self.values(name).map(parse).collect::<Result<_>>()?;
        if values.len() > MAX_VALUES {
            return Err(Error::bad_input(name, format!("must have at most {MAX_VALUES} values")));
        }
        Ok(values.into_iter().collect())
    }

    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(text) = self.single(name)? else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Error::bad_input(name, format!("must be a whole number from {least} to {most}"))),
        }
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkspaceId;

    fn scope() -> Scope {
        Scope::Workspace(WorkspaceId::parse("w", "ws-1").unwrap())
    }

    fn query(text: &str) -> Result<Query> {
        Params::parse(text)?.query(scope())
    }

    #[test]
    fn has_defaults() {
        let query = query("").unwrap();
        assert_eq!((query.limit, query.skip, query.order), (50, 0, Order::Descending));
        assert!(!query.total);
    }

    #[test]
    fn reads_every_parameter() {
        let text = "limit=200&offset=7&order=asc&actor_type=agent&actor_id=b&actor_id=a&actor_id=a&\
                    action=issue.created&tag=x&since=2025-01-01T00%3A00%3A00%2B01%3A00&until=2025-02-01T00:00:00&\
                    include=total";
        let query = query(text).unwrap();
        assert_eq!((query.limit, query.skip, query.order), (200, 7, Order::Ascending));
        assert_eq!(query.filter.actors.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.since.unwrap().to_string(), "2024-12-31T23:00:00");
        assert!(query.total);
    }

    #[test]
    fn names_the_parameter_at_fault() {
        let many: String = (0..21).map(|n| format!("tag=t{n}&")).collect();
        for (text, start) in [
            ("limit=0", "limit: must be a whole number from 1 to 200"),
            ("limit=201", "limit: "),
            ("limit=-1", "limit: "),
            ("limit=%2B5", "limit: "),
            ("limit=", "limit: "),
            ("limit=1&limit=1", "limit: must be given once"),
            ("offset=-1", "offset: "),
            ("offset=1.5", "offset: "),
            ("offset=18446744073709551616", "offset: "),
            ("order=DESC", "order: "),
            ("include=all", "include: "),
            ("actor_type=bot", "actor_type: "),
            ("actor_id=a%23b", "actor_id: "),
            ("actor_id=", "actor_id: "),
            ("action=created", "action: "),
            ("tag=a%20b", "tag: "),
            (&many, "tag: must have at most 20 values"),
            ("since=yesterday", "since: "),
            ("since=2025-01-02T00:00:00Z&until=2025-01-02T00:00:00Z", "since: must be before until"),
            ("cursor=abc", "cursor: "),
            ("cursor=abc&offset=0", "offset: must not be given together with cursor"),
            ("Limit=5", "Limit: is not a parameter here"),
            ("actorid=a", "actorid: is not a parameter here"),
        ] {
            let message = query(text).unwrap_err().to_string();
            assert!(message.starts_with(start), "{text}: {message:?} should start with {start:?}");
        }
    }

    #[test]
    fn the_next_page_keeps_the_filters() {
        let params = Params::parse("limit=2&offset=4&action=issue.created&action=issue.updated").unwrap();
        let query = params.query(scope()).unwrap();
        let place = Position::parse("2025-01-01T00:00:00.000000#act-1").unwrap();
        let next = params.next(&query, &place);
        assert!(next.starts_with("limit=2&action=issue.created&action=issue.updated&cursor="), "{next}");
        let again = Params::parse(&next).unwrap().query(scope()).unwrap();
        assert_eq!(again.after, Some(place));
    }
}
