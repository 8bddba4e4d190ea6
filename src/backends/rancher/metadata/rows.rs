//! Rows of metadata, read leniently: a value of another type than it should be is passed over, so that what somebody
//! else writes into one label or row freezes nobody's names. Only a list that is no list, or no JSON, is an error.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;
use serde_json::Value;

use crate::core::wanted::LABEL;

/// A service or container, as far as names are read from it. Of the fields only `uuid` and `name` are in every version
/// of metadata (seen on v0.5.1 to v0.10.4, with the rows of Cattle 0.174.3 to 0.183.83).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Row {
    /// A sidekick has that of its primary service.
    pub uuid: Lenient<String>,
    /// Its own, without the stack's.
    pub name: Lenient<String>,
    /// Of a container too, if it has a service.
    pub stack_name: Lenient<String>,
    /// Services have none up to Rancher 1.3.
    pub state: Lenient<String>,
    environment_uuid: Lenient<String>,
    /// Only of containers, since Rancher 1.5.
    pub service_uuid: Lenient<String>,
    /// Only of containers.
    pub service_name: Lenient<String>,
    labels: Lenient<Labels>,
    /// Only of services.
    pub containers: Lenient<Rows>,
}

impl Row {
    /// What our label says, unless that is nothing.
    pub fn label(&self) -> Option<&str> {
        let label = self.labels.get()?.announced.as_deref()?;
        (!label.trim().is_empty()).then_some(label)
    }

    /// UUID of its environment. None up to Rancher 1.3, or where it is empty.
    pub fn environment(&self) -> Option<&str> {
        self.environment_uuid.get().filter(|uuid| !uuid.is_empty())
    }

    /// Whether it is on its way out.
    pub fn is_gone(&self) -> bool {
        matches!(self.state.get(), Some("removing" | "removed" | "purging" | "purged"))
    }

    /// Whether a container does not run. One that is just started again counts as running.
    pub fn is_stopped(&self) -> bool {
        const STOPPED: [&str; 8] = [
            "creating",
            "created",
            "stopped",
            "stopping",
            "updating-stopped",
            "restoring",
            "error",
            "erroring",
        ];
        self.is_gone() || self.state.get().is_some_and(|state| STOPPED.contains(&state))
    }
}

/// A list of rows. What is no row is not in it.
#[derive(Debug, Default)]
pub struct Rows(pub Vec<Row>);

impl<'de> Deserialize<'de> for Rows {
    /// Fails where there is no list at all.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows = Lenient::deserialize(deserializer)?;
        rows.0.ok_or_else(|| D::Error::custom("no list"))
    }
}

/// All that is read of labels is ours. What is no text stands here as JSON, so that it is told of as a bad name.
#[derive(Debug, Default)]
struct Labels {
    announced: Option<String>,
}

/// A value, or nothing where a value of another type stands.
#[derive(Debug)]
pub struct Lenient<T>(pub Option<T>);

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl Lenient<String> {
    /// The text; none if there is no text.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl Lenient<Labels> {
    fn get(&self) -> Option<&Labels> {
        self.0.as_ref()
    }
}

/// What is made of each type that JSON has; of each that is not overridden, nothing.
pub trait Shape: Sized {
    /// Of a text.
    fn text(_text: &str) -> Option<Self> {
        None
    }

    /// Of a list, which is to be read to its end.
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    /// Of a map, which is to be read to its end.
    fn map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

impl Shape for String {
    fn text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Shape for Row {
    fn map<'de, A: MapAccess<'de>>(map: A) -> Result<Option<Self>, A::Error> {
        Self::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

impl Shape for Rows {
    fn list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element::<Lenient<Row>>()? {
            rows.extend(row.0);
        }
        Ok(Some(Self(rows)))
    }
}

impl Shape for Labels {
    fn map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Option<Self>, A::Error> {
        let mut labels = Self::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == LABEL {
                labels.announced = match map.next_value()? {
                    Value::Null => None,
                    Value::String(text) => Some(text),
                    other @ (Value::Bool(_)
                    | Value::Number(_)
                    | Value::Array(_)
                    | Value::Object(_)) => Some(other.to_string()),
                };
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Some(labels))
    }
}

impl<'de, T: Shape> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData)).map(Self)
    }
}

struct Any<T>(PhantomData<T>);

impl<'de, T: Shape> Visitor<'de> for Any<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(T::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        T::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::map(map)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::any;
    use proptest::proptest;
    use serde_json::json;

    use super::*;

    fn row(value: &Value) -> Option<Row> {
        serde_json::from_value::<Lenient<Row>>(value.clone()).unwrap().0
    }

    #[test]
    fn whatever_stands_in_a_field_the_others_are_read() {
        let odd = [
            json!(7),
            json!(-7),
            json!(1.5),
            json!(true),
            json!(null),
            json!([1, {}]),
            json!({"a": [1]}),
        ];
        for odd in odd {
            let first =
                row(&json!({"uuid": "u", "name": odd, "state": odd, "stack_name": odd, "x": odd,
                "containers": odd, "labels": {"x": odd, LABEL: "a.example.com", "y": odd}}));
            let first = first.unwrap();
            assert_eq!(
                (first.uuid.get(), first.label()),
                (Some("u"), Some("a.example.com")),
                "{odd}"
            );
            let second = row(&json!({"labels": odd, "uuid": odd, "name": "web"})).unwrap();
            assert_eq!((second.name.get(), second.label()), (Some("web"), None), "{odd}");
            let list: Rows = serde_json::from_value(json!([odd, {"uuid": "u"}, odd])).unwrap();
            // A map is a row that says nothing.
            let uuids: Vec<bool> = list.0.iter().map(|row| row.uuid.0.is_some()).collect();
            match odd.is_object() {
                true => assert_eq!(uuids, [false, true, false]),
                false => assert_eq!(uuids, [true]),
            }
        }
        assert!(serde_json::from_value::<Rows>(json!({"code": 404})).is_err());
    }

    #[test]
    fn an_environment_without_a_name_is_none() {
        let environment = |value: Value| {
            let row = row(&json!({"environment_uuid": value})).unwrap();
            row.environment().map(str::to_owned)
        };
        assert_eq!(environment(json!("e")).as_deref(), Some("e"));
        assert_eq!((environment(json!("")), environment(json!(null))), (None, None));
    }

    #[test]
    fn a_label_that_is_no_text_is_its_json_and_null_is_none() {
        let label = |value: Value| {
            let row = row(&json!({"labels": {LABEL: value}})).unwrap();
            row.label().map(str::to_owned)
        };
        assert_eq!(label(json!("a.example.com")).as_deref(), Some("a.example.com"));
        assert_eq!(label(json!(7)).as_deref(), Some("7"));
        assert_eq!(label(json!(["a.example.com"])).as_deref(), Some(r#"["a.example.com"]"#));
        assert_eq!(label(json!(null)), None);
        assert_eq!(label(json!(" ")), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_rows_or_an_error(
            label in ".{0,80}",
            state in "(active|removing|stopped)?",
            at in any::<proptest::sample::Index>(),
            put in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let own = json!({"uuid": "u", "name": "web", "state": state, "environment_uuid": null,
                "labels": {LABEL: label, "io.rancher": null}, "token": "secret"});
            let read = row(&own).unwrap();
            let expected = (!label.trim().is_empty()).then_some(label.as_str());
            assert_eq!(read.label(), expected);
            let mut body = json!([own, {"containers": [own]}]).to_string().into_bytes();
            let from = at.index(body.len());
            body.splice(from..from + put.len().min(body.len() - from), put);
            for row in serde_json::from_slice::<Rows>(&body).into_iter().flat_map(|rows| rows.0) {
                let _ = (row.is_gone(), row.is_stopped(), row.label());
            }
        }
    }
}
