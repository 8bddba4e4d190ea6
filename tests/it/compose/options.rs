//! `docs/compose.md`: from which Docker and Rancher on each option of the compose files is taken, and how that is known.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use super::PAIRS;
use super::parse;

const DOCUMENT: &str = include_str!("../../../docs/compose.md");

/// How something is known, as the document explains it.
const SOURCES: [&str; 4] = ["run", "source", "documentation", "not run"];
/// The oldest Docker and Rancher that are meant to work.
const OLDEST: [(u32, u32); 2] = [(1, 12), (1, 2)];

#[test]
fn table_has_a_row_for_every_option_and_no_other() {
    let mut used = BTreeSet::new();
    for pair in PAIRS {
        for text in [pair.docker, pair.rancher] {
            options(&parse(text), &mut Vec::new(), &mut used);
        }
    }
    let rows = rows();
    let told: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(used, told);
}

#[test]
fn every_row_names_versions_that_are_old_enough_and_its_sources() {
    for (option, row) in rows() {
        let [docker, rancher, source] = &row[..] else {
            panic!("{option}: {row:?}");
        };
        for (version, oldest) in [docker, rancher].into_iter().zip(OLDEST) {
            // A dash: it is not the business of that one.
            let version = version.split(' ').next().unwrap();
            if version != "-" {
                let (major, minor) = version.split_once('.').unwrap();
                let version = (major.parse().unwrap(), minor.parse().unwrap());
                assert!(version <= oldest, "{option}: {version:?}");
            }
        }
        let marks = source.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        let marks: Vec<&str> = marks.map(|(mark, _)| mark).collect();
        assert!(!marks.is_empty(), "{option}: {source}");
        for mark in marks {
            assert!(SOURCES.contains(&mark), "{option}: {mark}");
        }
    }
}

/// The options of a file: keys by their path, without the names of services and volumes. What is in `environment` are
/// settings, which are told of elsewhere; values are told apart where Docker does.
fn options(value: &Value, path: &mut Vec<String>, found: &mut BTreeSet<String>) {
    let entries = match value {
        Value::Object(entries) => entries,
        Value::Array(items) => return items.iter().for_each(|item| options(item, path, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for (key, value) in entries {
        let is_name = matches!(&path[..], [top] if top == "services" || top == "volumes");
        if is_name {
            path.push(String::new());
            options(value, path, found);
            path.pop();
            continue;
        }
        path.push(key.clone());
        if path.len() > 1 || !value.is_object() {
            found.insert(
                path.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("."),
            );
        }
        match key.as_str() {
            "environment" => {}
            "cap_drop" | "cap_add" | "security_opt" => {
                for item in value.as_array().unwrap() {
                    found.insert(format!("services.{key}: {}", item.as_str().unwrap()));
                }
                found.remove(&format!("services.{key}"));
            }
            _ => options(value, path, found),
        }
        path.pop();
    }
}

/// The rows of the table, by the option in the first column.
fn rows() -> BTreeMap<String, Vec<String>> {
    let begin = "<!-- options -->\n";
    let from = DOCUMENT.find(begin).unwrap() + begin.len();
    let to = DOCUMENT.find("<!-- end of options -->").unwrap();
    let mut rows = BTreeMap::new();
    for line in DOCUMENT[from..to].lines().skip(2) {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let option = cells.next().unwrap().trim_matches('`').to_owned();
        let before = rows.insert(option, cells.collect());
        assert_eq!(before, None, "twice: {line}");
    }
    rows
}
