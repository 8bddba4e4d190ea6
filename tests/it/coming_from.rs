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
use crate::tidy::sources;

const DOCUMENT: &str = include_str!("../../docs/coming-from.md");
const A: &str = "a.example.com";

/// A row of the table of messages.
struct Row {
    message: String,
    level: String,
}

impl Row {
    /// Whether a line of the log can come of a text in the code; dots stand for what differs.
    fn is_made_of(&self, text: &str) -> bool {
        let mut parts = self.message.split("...").map(str::trim);
        let Some(mut rest) = parts.next().and_then(|begin| text.strip_prefix(begin)) else {
            return false;
        };
        let mut is_whole = rest.is_empty();
        for part in parts {
            let Some(found) = rest.find(part) else {
                return false;
            };
            rest = &rest[found + part.len()..];
            is_whole = part.is_empty() || rest.is_empty();
        }
        is_whole
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
fn every_message_in_the_table_is_said_by_the_daemon_at_its_level() {
    let literals: Vec<Literal> =
        sources().iter().flat_map(|source| literals(&source.code)).collect();
    let rows = rows();
    let mut unknown = Vec::new();
    for row in &rows {
        let found: Vec<&Literal> =
            literals.iter().filter(|literal| row.is_made_of(&literal.text)).collect();
        assert!(!found.is_empty(), "nobody says {}", row.message);
        let levels: BTreeSet<&str> = found.iter().filter_map(|literal| literal.level).collect();
        match levels.len() {
            0 => unknown.push(row.message.as_str()),
            _ => assert_eq!(levels, BTreeSet::from([row.level.as_str()]), "{}", row.message),
        }
    }
    // They are said in other words, by way of a constant, or as a part of another line.
    assert_eq!(
        unknown,
        [
            "... setting(s) cannot be used: ...",
            "the store is not on a volume: ...",
            "self-check of ... failed, so the authority is not asked: ...",
        ]
    );
    let messages: BTreeSet<&str> = rows.iter().map(|row| row.message.as_str()).collect();
    assert_eq!(messages.len(), rows.len(), "one of them stands twice");
}

/// Text between quotes in the code, and the level of the macro that it is an argument of.
struct Literal {
    text: String,
    level: Option<&'static str>,
}

fn literals(code: &str) -> Vec<Literal> {
    // A quote as a `char` begins no text.
    let code = code.replace("'\"'", "' '").replace("'\\\"'", "' '");
    let mut literals = Vec::new();
    let mut outside = String::new();
    let mut at = 0;
    while let Some(begin) = code[at..].find('"').map(|found| at + found) {
        let body = &code[begin + 1..];
        let marks = code[..begin].len() - code[..begin].trim_end_matches('#').len();
        let is_raw = code[..begin - marks].ends_with('r');
        let end = if is_raw {
            body.find(&format!("\"{}", "#".repeat(marks)))
        } else {
            let mut is_escaped = false;
            body.find(|char| {
                let is_end = char == '"' && !is_escaped;
                is_escaped = char == '\\' && !is_escaped;
                is_end
            })
        };
        let end = end.unwrap_or_else(|| panic!("where does it end? {body:.80}"));
        outside += &code[at..begin];
        let text = body[..end].replace("{place}", "Rancher").replace("{what}", "Rancher");
        literals.push(Literal { text, level: level(&outside) });
        at = begin + 1 + end + 1;
    }
    literals
}

/// The level of the macro that is open where some code ends.
fn level(before: &str) -> Option<&'static str> {
    let levels = ["error", "warn", "info", "debug"];
    let of = |level: &'static str| {
        let begin = format!("{level}!(");
        before.rfind(&begin).map(|found| (found + begin.len(), level))
    };
    let (from, level) = levels.into_iter().filter_map(of).max()?;
    let mut depth = 1;
    for char in before[from..].chars() {
        depth += i32::from(char == '(') - i32::from(char == ')');
        if depth == 0 {
            return None;
        }
    }
    Some(level)
}

#[test]
fn a_text_has_the_level_of_the_macro_around_it() {
    let code = r##"warn!(a = %b("c", 1), "d {place}"); info!("e"); f('"', "\"g", r#"h"i"#); info!(j, "k")"##;
    let found = literals(code);
    let found: Vec<_> = found.iter().map(|found| (found.text.as_str(), found.level)).collect();
    let is = [
        ("c", Some("warn")),
        ("d Rancher", Some("warn")),
        ("e", Some("info")),
        ("\\\"g", None),
        ("h\"i", None),
        ("k", Some("info")),
    ];
    assert_eq!(found, is);
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
    // Wanted under a name whose folder is not ours: it is of another name.
    lineage("n.example.com", &[issued_before(&["*.n.example.com"], 70)]);
    let mut daemon = world.daemon("a.example.com, f.example.com, n.example.com");
    for message in ["certbot's lineage taken over", "certbot's lineage left alone"] {
        daemon.mentions(message).await;
    }
    world.pushed("n.example.com").await;
    daemon.settles().await;
    for message in
        ["certificate left alone", "left alone, it is not ours; the next free name is used"]
    {
        assert!(daemon.count(message) > 0, "{message}: {}", daemon.text());
    }
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
        assert_eq!(ran.code, 0, "{name}={value}: {}", ran.err);
        let said: Value = serde_json::from_str(&ran.out).unwrap();
        said["settings"][name].clone()
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
        assert_eq!(shown(name, value).await, is, "{name}={value}");
    }
    let quoted = world.settings().with("STAGING", "\"True\"").runs(&["check-config"]).await;
    assert_eq!(quoted.code, 64);
    assert!(quoted.err.contains("STAGING=`\\\"True\\\"`"), "{}", quoted.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_rancher_nor_metadata_is_asked_through_a_proxy_of_the_variables() {
    let world = World::start().await;
    world.announce("shop", "web", A);
    // Nobody listens there; the CA is asked directly.
    let settings = world.settings().with("HTTP_PROXY", "http://127.0.0.1:9");
    let daemon = settings.with("NO_PROXY", "localhost").start();
    world.pushed(A).await;
    assert_eq!(daemon.count("Rancher cannot be read"), 0, "{}", daemon.text());
    assert_eq!(daemon.count("metadata does not answer, the names last known hold"), 0);
}

#[test]
fn a_file_of_variables_comes_out_of_an_env_file() {
    let folder = tempfile::tempdir().unwrap();
    for (line, becomes) in [
        ("DOMAINS=a.example.com,b.example.com", "RLE_DOMAINS=a.example.com,b.example.com\n"),
        ("STAGING=\"False\"", "RLE_STAGING=False\n"),
        ("export CERTBOT_EMAIL='ops@example.com'", "RLE_CERTBOT_EMAIL=ops@example.com\n"),
        ("\texport\tCERTBOT_EMAIL=a", "RLE_CERTBOT_EMAIL=a\n"),
        ("RENEW_BEFORE_DAYS = 14", "RLE_RENEW_BEFORE_DAYS=14\n"),
        ("\t LOOP_TIME\t=\t'60' \t", "RLE_LOOP_TIME=60\n"),
        ("STAGING=False # prod", "RLE_STAGING=False\n"),
        ("STAGING=\"False\"\t# it's prod", "RLE_STAGING=False\n"),
        ("NOTIFY_URL=http://example.com/#a", "RLE_NOTIFY_URL=http://example.com/#a\n"),
        ("EMAIL=\"o'hara@example.com\"", "RLE_EMAIL=o'hara@example.com\n"),
        ("EMAIL=o'hara@example.com", "RLE_EMAIL=o'hara@example.com\n"),
        ("DOMAINS='a.example.com b.example.com'", "RLE_DOMAINS=a.example.com b.example.com\n"),
        ("EMAIL=", "RLE_EMAIL=\n"),
        ("EMAIL= # none", "RLE_EMAIL=\n"),
        ("CERT_NAME=#a = b", "RLE_CERT_NAME=#a = b\n"),
        ("CERT_NAME=\" #a \"", "RLE_CERT_NAME= #a \n"),
        ("CERT_NAME='a' and 'b'", "RLE_CERT_NAME='a' and 'b'\n"),
        ("STAGING=False\r", "RLE_STAGING=False\n"),
        ("CATTLE_URL=http://rancher.example.com", ""),
        ("export CATTLE_SECRET_KEY = b", ""),
        ("# STAGING=True", ""),
        ("", ""),
    ] {
        assert_eq!(variables(folder.path(), &format!("{line}\n")), becomes, "{line:?}");
    }
}

/// What the document's script makes of an `env_file`, without the line about the image.
fn variables(folder: &Path, env: &str) -> String {
    fs::write(folder.join("letsencrypt.env"), env).unwrap();
    let script = DOCUMENT.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let mut shell = Command::new("/bin/sh");
    let status = shell.args(["-e", "-c", script]).current_dir(folder).status().unwrap();
    assert!(status.success());
    let made = fs::read_to_string(folder.join("rle.env")).unwrap();
    made.strip_suffix("RLE_IMAGE=YOUR/rancher-lets-encrypt\n").unwrap().to_owned()
}
