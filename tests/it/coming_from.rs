//! `docs/coming-from.md`: what it says of the log and of old settings is what the daemon does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::certs::Pair;
use serde_json::Value;

use crate::support::Daemon;
use crate::support::World;
use crate::support::tree::issued_before;
use crate::support::tree::lay;
use crate::support::tree::renewal_conf;

const DOCUMENT: &str = include_str!("../../docs/coming-from.md");
const A: &str = "a.example.com";

/// A row of the table of messages.
struct Row {
    message: String,
    level: String,
}

impl Row {
    /// Its message in parts, of which a line has all in this order; dots stand for what differs.
    fn parts(&self) -> Vec<&str> {
        self.message.split("...").map(str::trim).filter(|part| !part.is_empty()).collect()
    }

    fn is_of(&self, line: &Value) -> bool {
        let message = line["message"].as_str().unwrap_or_default();
        let is_same = match self.message.strip_suffix(" ...") {
            Some(begin) => message.starts_with(begin),
            None => message == self.message,
        };
        is_same && line["level"].as_str().unwrap().eq_ignore_ascii_case(&self.level)
    }
}

fn rows() -> Vec<Row> {
    let begin = "<!-- log -->\n";
    let from = DOCUMENT.find(begin).unwrap() + begin.len();
    let to = DOCUMENT.find("<!-- end of log -->").unwrap();
    let rows = DOCUMENT[from..to].lines().skip(2).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [message, level, meaning, advice] = cells[..] else {
            panic!("{line}");
        };
        assert!(!meaning.is_empty() && !advice.is_empty(), "{line}");
        Row { message: message.trim_matches('`').to_owned(), level: level.to_owned() }
    });
    rows.collect()
}

#[test]
fn every_message_in_the_table_is_in_the_source() {
    let mut source = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                source += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let source = source.replace("{place}", "Rancher").replace("{what}", "Rancher");
    let rows = rows();
    for row in &rows {
        for part in row.parts() {
            assert!(source.contains(part), "{part}");
        }
    }
    let messages: BTreeSet<&str> = rows.iter().map(|row| row.message.as_str()).collect();
    assert_eq!(messages.len(), rows.len(), "one of them stands twice");
}

/// What a daemon has said at `info` and above, all of which has to be in the table.
#[track_caller]
fn every_line_is_in_the_table(daemon: &Daemon) {
    let rows = rows();
    for line in daemon.log() {
        // What is no line of the log is what the program says as it ends.
        let level = line["level"].as_str().unwrap_or("DEBUG");
        if !matches!(level, "DEBUG" | "TRACE") {
            assert!(rows.iter().any(|row| row.is_of(&line)), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_a_first_start_says_is_in_the_table() {
    let world = World::start().await;
    world.announce("shop", "web", "label.example.com *.example.com");
    let settings = world.settings().with("DOMAINS", "a.example.com, b_c.example.com");
    let settings = settings.with("VALID_ISSUERS", "R3").with("EULA", "Yes");
    let mut daemon = settings.start();
    world.pushed(A).await;
    world.pushed("label.example.com").await;
    daemon.says("balancers woken").await;
    daemon.settles().await;
    for message in ["setting without effect", "name in DOMAINS left out", "name left out or moved"]
    {
        assert!(daemon.count(message) > 0, "{message}: {}", daemon.text());
    }
    every_line_is_in_the_table(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_said_of_an_old_tree_is_in_the_table() {
    let world = World::start().await;
    let directory = world.production.directory_url();
    let lineage = |name: &str, versions: &[Pair]| {
        let conf = renewal_conf(&world.store(), name, &directory, &[name]);
        lay(&world.store(), name, &conf, versions);
    };
    lineage(A, &[issued_before(&[A], 70)]);
    lineage("old.example.com", &[issued_before(&["old.example.com"], 70)]);
    lineage("w.example.com", &[issued_before(&["*.w.example.com"], 70)]);
    // Bought elsewhere.
    let foreign = issued_before(&["f.example.com"], 70);
    let (cert, chain, key) = (&foreign.cert_pem, &foreign.chain_pem, &foreign.key_pem);
    world.rancher.add_certificate("f.example.com", cert, Some(chain), key, None);
    let mut daemon = world.daemon("a.example.com, f.example.com");
    for message in ["certbot's lineage taken over", "certbot's lineage left alone"] {
        daemon.mentions(message).await;
    }
    daemon.settles().await;
    assert!(daemon.count("certificate left alone") > 0, "{}", daemon.text());
    every_line_is_in_the_table(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_said_where_nothing_works_is_in_the_table() {
    let world = World::start().await;
    world.rancher.close_api().await;
    let settings = world.settings().with("DOMAINS", A).with("STAGING", "true");
    let mut daemon = settings.clone().start();
    daemon.says("Rancher cannot be read").await;
    daemon.passes(1).await;
    every_line_is_in_the_table(&daemon);
    daemon.stop().await;

    let mut daemon = settings.with("CATTLE_ACCESS_KEY", "of-a-container-that-is-gone").start();
    daemon.says("Rancher cannot be read").await;
    every_line_is_in_the_table(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_said_of_a_name_that_leads_elsewhere_is_in_the_table() {
    let world = World::start().await;
    world.web.settings(|settings| settings.missing_hosts.push(A.to_owned()));
    let mut daemon = world.daemon(A);
    daemon.mentions("self-check of a.example.com failed").await;
    daemon.passes(1).await;
    every_line_is_in_the_table(&daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_of_old_settings_mean_what_the_document_says() {
    let world = World::start().await;
    let shown = async |name: &str, value: &str| {
        let ran = world.settings().with(name, value).runs(&["check-config", "--json"]).await;
        if ran.code == 64 { ran.err } else { ran.out }
    };
    for (name, value, is) in [
        ("STAGING", "", "True"),
        ("STAGING", "true", "True"),
        ("STAGING", "yes", "True"),
        ("STAGING", "1", "True"),
        ("STAGING", "False", "False"),
        ("DYNAMIC_CONFIG", "", "True"),
        ("DYNAMIC_CONFIG", "true", "True"),
        ("DOMAINS", "a.example.com\nb.example.com", "a.example.com b.example.com"),
        ("DOMAINS", "a.example.com,\nb.example.com", "a.example.com, b.example.com"),
    ] {
        let said = shown(name, value).await;
        assert!(said.contains(&format!("\"{is}\"")), "{name}={value}: {said}");
    }
    let said = shown("STAGING", "\"True\"").await;
    assert!(said.contains("STAGING=`"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_for_rancher_unless_no_proxy_names_it_and_never_for_metadata() {
    let world = World::start().await;
    world.announce("shop", "web", A);
    // Nobody listens there.
    let settings = world.settings().with("HTTP_PROXY", "http://127.0.0.1:9");
    let mut daemon = settings.clone().start();
    daemon.says("Rancher cannot be read").await;
    daemon.passes(1).await;
    assert_eq!(daemon.count("metadata does not answer, the names last known hold"), 0);
    daemon.stop().await;
    let _daemon = settings.with("NO_PROXY", "127.0.0.1").start();
    world.pushed(A).await;
}

#[test]
fn a_file_of_variables_comes_out_of_an_env_file() {
    let folder = tempfile::tempdir().unwrap();
    let env = "# comment\nDOMAINS=a.example.com,b.example.com\nSTAGING=\"False\"\n\
        export CERTBOT_EMAIL='ops@example.com'\nCATTLE_URL=http://rancher.example.com\n\n";
    fs::write(folder.path().join("letsencrypt.env"), env).unwrap();
    let script = DOCUMENT.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let mut shell = Command::new("/bin/sh");
    let status = shell.args(["-e", "-c", script]).current_dir(folder.path()).status().unwrap();
    assert!(status.success());
    assert_eq!(
        fs::read_to_string(folder.path().join("rle.env")).unwrap(),
        "RLE_DOMAINS=a.example.com,b.example.com\nRLE_STAGING=False\n\
        RLE_CERTBOT_EMAIL=ops@example.com\nRLE_IMAGE=YOUR/rancher-lets-encrypt\n"
    );
}
