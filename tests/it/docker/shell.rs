//! The compose files read by Compose itself, in the shell of somebody who has set all kinds of things.

use std::collections::BTreeMap;
use std::process::Stdio;

use rancher_lets_encrypt::config::ANCESTORS;
use rancher_lets_encrypt::config::SETTINGS;
use serde_json::Value;
use tokio::process::Command;

use crate::docker::stack::DAEMON;
use crate::docker::stack::variable;
use crate::docker::workshop::Workshop;
use crate::docker::workshop::text;
use crate::support::guarded;

/// What shells have besides, of which none is meant for the daemon.
const COMMON: &str = "DOMAIN HOME HOST HOSTNAME IMAGE LANG LE_IMAGE LE_STACK LOGNAME MAIL NAME PORT PWD \
    SHELL STACK TERM TMPDIR TZ URL USER VERSION HTTP_PROXY HTTPS_PROXY http_proxy https_proxy NO_PROXY";
const POISON: &str = "poison";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_shell_comes_into_a_stack_but_what_is_named_for_it() {
    let Some(_workshop) = Workshop::open().await else {
        return;
    };
    for folder in ["", "traffic-manager/", "traffic-manager/https/"] {
        let read = config(folder, &[]).await;
        assert!(!read.contains(POISON), "{folder}: {read}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_named_for_the_stack_comes_into_it_and_all_else_is_empty() {
    let Some(_workshop) = Workshop::open().await else {
        return;
    };
    let given = [("DOMAINS", "a.example.com"), ("STAGING", "False")];
    let read = config("", &given).await;
    let read: Value = serde_saphyr::from_str(&read).unwrap();
    let environment = read["services"][DAEMON]["environment"].as_object().unwrap();
    let set: BTreeMap<&str, &str> = environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    assert_eq!(set, BTreeMap::from(given));
    assert_eq!(environment.len(), SETTINGS.iter().filter(|setting| !setting.injected).count());
}

/// What Compose makes of a file.
async fn config(folder: &str, given: &[(&str, &str)]) -> String {
    let file = format!("{}/{folder}docker-compose.yml", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("docker-compose");
    command.args(["--project-name", "shell", "--file", &file, "config"]);
    command.env_clear();
    // Without it the program is not found.
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let settings = SETTINGS.iter().map(|setting| setting.name);
    let names = settings
        .chain(ANCESTORS.iter().map(|ancestor| ancestor.0))
        .chain(COMMON.split_whitespace());
    command.envs(names.map(|name| (name, format!("{POISON}-{name}"))));
    command.env(variable("IMAGE"), "image:1");
    command.envs(given.iter().map(|(name, value)| (variable(name), value)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = guarded("docker-compose config", command.output()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}
