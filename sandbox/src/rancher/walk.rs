//! Paths into the data of metadata, and its text form.

use serde_json::Value;

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Found<'a> {
    /// This value.
    Value(&'a Value),
    /// Nothing.
    Missing,
    /// Something below a null, which the real server dies of.
    BelowNull,
}

/// Follows a path; when it leads nowhere, once more in lower case.
pub(crate) fn walk<'a>(tree: &'a Value, path: &[String]) -> Found<'a> {
    match exactly(tree, path) {
        Found::Missing => {
            let folded: Vec<String> = path.iter().map(|part| part.to_lowercase()).collect();
            exactly(tree, &folded)
        }
        found @ (Found::Value(_) | Found::BelowNull) => found,
    }
}

fn exactly<'a>(tree: &'a Value, path: &[String]) -> Found<'a> {
    let mut value = tree;
    for part in path {
        let next = match value {
            Value::Null => return Found::BelowNull,
            Value::Object(fields) => fields.get(part),
            Value::Array(items) => element(items, part),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let Some(next) = next else {
            return Found::Missing;
        };
        value = next;
    }
    Found::Value(value)
}

/// An element by its place, its name or its UUID.
fn element<'a>(items: &'a [Value], part: &str) -> Option<&'a Value> {
    if let Ok(index) = part.parse::<usize>() {
        return items.get(index);
    }
    let is_called = |item: &&Value| item["name"] == part || item["uuid"] == part;
    items.iter().find(is_called)
}

/// A scalar as Go prints it, which is what a long poll compares; none for maps and lists.
pub(crate) fn printed(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("<nil>".to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text form; none where the real server dies of an element without a name.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Object(fields) => {
            let mut keys: Vec<(&String, &Value)> = fields.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            let lines = keys.iter().map(|(key, value)| match is_folder(key, value) {
                true => format!("{key}/\n"),
                false => format!("{key}\n"),
            });
            Some(lines.collect())
        }
        Value::Array(items) => {
            let lines = items.iter().enumerate();
            lines.map(|(index, item)| line(index, item)).collect()
        }
    }
}

fn line(index: usize, item: &Value) -> Option<String> {
    match (item, item.get("name")) {
        (_, Some(Value::String(name))) => Some(format!("{index}={name}\n")),
        (_, Some(_)) => None,
        (Value::Object(_) | Value::Array(_), None) => Some(format!("{index}/\n")),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), None) => {
            Some(format!("{index}\n"))
        }
    }
}

/// Fields whose type is a list or a map are folders even while they are null.
fn is_folder(key: &str, value: &Value) -> bool {
    const TYPED: [&str; 5] = ["containers", "labels", "links", "ports", "sidekicks"];
    value.is_object() || value.is_array() || TYPED.contains(&key)
}
