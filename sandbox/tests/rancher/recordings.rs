//! Recorded exchanges, and the comparison of a recorded answer with the model's.

use std::path::PathBuf;

use serde_json::Value;

/// The files of a folder of recordings in the order of their names.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("recordings").join(folder);
    let entries = std::fs::read_dir(folder).expect("the recordings are part of the crate");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.sort();
    files
}

/// The name of a file.
pub(crate) fn name(path: &std::path::Path) -> String {
    let name = path.file_name().expect("it is a file");
    name.to_string_lossy().into_owned()
}

/// How two answers are compared.
pub(crate) struct Comparison {
    /// Fields of which only the type is compared, and whether they are null.
    pub(crate) types_only: &'static [&'static str],
    /// Maps whose keys are data.
    pub(crate) free_maps: &'static [&'static str],
    /// Fields that a configuration has or has not.
    pub(crate) may_be_null: &'static [&'static str],
    /// Whether all other fields must have the recorded value, or the recorded type.
    pub(crate) values: bool,
}

impl Comparison {
    /// Says where the model's answer differs.
    pub(crate) fn differences(&self, recorded: &Value, ours: &Value) -> Vec<String> {
        let mut found = Vec::new();
        self.compare("", "", recorded, ours, &mut found);
        found
    }

    fn compare(
        &self,
        path: &str,
        field: &str,
        recorded: &Value,
        ours: &Value,
        found: &mut Vec<String>,
    ) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                if self.free_maps.contains(&field) {
                    return;
                }
                for key in recorded.keys().filter(|key| !ours.contains_key(*key)) {
                    found.push(format!("{path}: the model lacks {key}"));
                }
                // The recorder has shortened long lists of links.
                let is_links = field == "links";
                for key in ours.keys().filter(|key| !is_links && !recorded.contains_key(*key)) {
                    found.push(format!("{path}: the model adds {key}"));
                }
                for (key, value) in recorded {
                    if let Some(ours) = ours.get(key) {
                        self.compare(&format!("{path}/{key}"), key, value, ours, found);
                    }
                }
            }
            (Value::Array(recorded), Value::Array(ours)) => {
                self.compare_lists(path, field, recorded, ours, found);
            }
            (Value::Null, _) | (_, Value::Null) if self.may_be_null.contains(&field) => {}
            _ if std::mem::discriminant(recorded) != std::mem::discriminant(ours) => {
                found.push(format!("{path}: {recorded} became {ours}"));
            }
            _ if !self.values || self.types_only.contains(&field) => {}
            _ if recorded != ours => found.push(format!("{path}: {recorded} became {ours}")),
            _ => {}
        }
    }

    /// Entries are matched by name and stack; what the model has none of is left out, so that the
    /// caller must see to it that enough is there. Other lists are compared place by place.
    fn compare_lists(
        &self,
        path: &str,
        field: &str,
        recorded: &[Value],
        ours: &[Value],
        found: &mut Vec<String>,
    ) {
        for (index, entry) in recorded.iter().enumerate() {
            let path = format!("{path}/{index}");
            let pair = match entry.get("name") {
                Some(_) => ours.iter().find(|other| are_same(entry, other)),
                None if self.values && !self.types_only.contains(&field) => ours.get(index),
                None => ours.first(),
            };
            match pair {
                Some(pair) => self.compare(&path, field, entry, pair, found),
                None if self.values => found.push(format!("{path}: the model lacks {entry}")),
                None => {}
            }
        }
    }
}

fn are_same(recorded: &Value, ours: &Value) -> bool {
    ["name", "stack_name"].iter().all(|key| recorded.get(key) == ours.get(key))
}
