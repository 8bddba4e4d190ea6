//! What real servers answered, as the daemon reads it.

use std::collections::BTreeSet;
use std::path::Path;

use rancher_lets_encrypt::backends::rancher::metadata::announced::announced;
use rancher_lets_encrypt::backends::rancher::metadata::announced::name_environments;
use rancher_lets_encrypt::backends::rancher::metadata::rows::Rows;
use serde_json::Value;
use serde_json::json;

use crate::support::LABEL;

/// The recorded answers of one server, by path.
fn answer(file: &Path, path: &str) -> Option<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.find(|line| line["path"] == format!("/2015-12-19/{path}"))?;
    Some(line["body"].clone())
}

/// Every container gets the label that image and container have: in rows of each age its service is found.
#[test]
fn the_services_of_recorded_containers_are_found_in_rows_of_each_age() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox/recordings/metadata-versions");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let lists = [answer(&file, "services"), answer(&file, "containers")];
        let [Some(mut services), Some(mut containers)] = lists else {
            continue;
        };
        read += 1;
        for container in containers.as_array_mut().unwrap() {
            container["labels"][LABEL] = json!("a.example.com");
        }
        // As if the lists were not of one moment: services do not know their containers yet.
        for inside in [true, false] {
            if !inside {
                services
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .for_each(|row| row["containers"] = json!(null));
            }
            let rows = |list: &Value| serde_json::from_value::<Rows>(list.clone()).unwrap().0;
            let environment = match name_environments(&rows(&services)) {
                true => "adminProject",
                false => "",
            };
            assert_eq!(environment.is_empty(), name.starts_with("cattle-0.174.3"), "{name}");
            let found = announced(rows(&services), rows(&containers), environment);
            let found = found.iter().filter(|one| !one.label.is_empty());
            let found: BTreeSet<(&str, &str)> =
                found.map(|one| (one.uuid.as_str(), one.service.as_str())).collect();
            let services = services.as_array().unwrap().iter();
            let own = services.clone().filter(|row| row["stack_name"] == "le");
            let uuid = own.clone().next().unwrap()["uuid"].as_str().unwrap();
            let expected = ["le/letsencrypt-nginx", "le/rancher-lets-encrypt"];
            assert_eq!(own.count(), 2, "{name}");
            assert_eq!(found, expected.map(|service| (uuid, service)).into(), "{name}");
        }
    }
    assert!(read >= 5, "only {read} servers were found");
}
