//! What of the shell of whoever runs `rancher-compose` comes into the stack: what is named for it, and nothing else.

use std::collections::BTreeSet;

use rancher_lets_encrypt::config::SETTINGS;

use super::DAEMON;
use super::PAIRS;
use super::PREFIX;
use super::STACK;
use super::object;
use super::parse;
use super::strings;

#[test]
fn no_variable_of_the_shell_is_read_but_those_with_our_prefix() {
    let settable = SETTINGS.iter().filter(|setting| !setting.injected).map(|setting| setting.name);
    let ours = settable.chain(["IMAGE", "STACK"]).map(|name| format!("{PREFIX}{name}"));
    assert_eq!(variables(), ours.collect());
}

#[test]
fn prefix_is_taken_off_on_the_way_into_the_container() {
    let services = STACK.docker_services();
    for (name, value) in object(&services[DAEMON]["environment"]) {
        assert_eq!(value.as_str(), Some(format!("${{{PREFIX}{name}}}").as_str()));
    }
}

#[test]
fn each_file_says_which_variables_it_cannot_do_without() {
    for (text, name) in [(STACK.docker, "IMAGE"), (super::BALANCER.docker, "STACK")] {
        let said = format!("# {PREFIX}{name} is required");
        assert!(text.lines().any(|line| line.starts_with(&said)), "{said}");
    }
}

/// All variables of all files.
fn variables() -> BTreeSet<String> {
    let texts = PAIRS.iter().flat_map(|pair| [pair.docker, pair.rancher]);
    let strings = texts.flat_map(|text| strings(&parse(text)));
    strings.flat_map(|string| variables_of(&string)).collect()
}

fn variables_of(string: &str) -> Vec<String> {
    let named = string.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    named.map(|(name, _)| name.to_owned()).collect()
}
