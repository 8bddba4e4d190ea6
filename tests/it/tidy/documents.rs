//! What documents name and show is that of the code.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::*;

/// What stands between two marks in a Markdown file.
fn block(markdown: &str, name: &str) -> String {
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->");
    let from = markdown.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
    let to = markdown[from..].find(&end).unwrap_or_else(|| panic!("no {end}")) + from;
    markdown[from..to].to_owned()
}

#[test]
fn the_tables_in_the_documents_are_those_of_the_code() {
    let readme = text("README.md");
    assert_eq!(block(&readme, "settings"), config::render(), "README.md, settings");
    assert_eq!(block(&readme, "decisions"), table::render(), "README.md, decisions");
    assert_eq!(block(&readme, "failures"), reaction::render(), "README.md, failures");
    assert_eq!(
        block(&text("ARCHITECTURE.md"), "machine"),
        order::render(),
        "ARCHITECTURE.md, machine"
    );
}

#[test]
fn every_link_of_the_documents_leads_to_something() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/notices.md",
        "docs/compose.md",
        "docs/coming-from.md",
    ];
    for document in documents {
        let markdown = text(document);
        let folder = root().join(document).parent().unwrap().to_owned();
        for link in markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(document) } else { folder.join(path) };
            assert!(target.exists(), "{document} links to {path}");
            if !anchor.is_empty() {
                let anchors = anchors(&fs::read_to_string(target).unwrap());
                assert!(anchors.iter().any(|own| own == anchor), "{document}: {link}: {anchors:?}");
            }
        }
    }
}

/// What a forge calls the headings of a document: in small letters, a dash for each space, nothing for other signs, and
/// a number behind what was there before.
fn anchors(markdown: &str) -> Vec<String> {
    let mut before: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = Vec::new();
    let outside_of_code = markdown.split("```").step_by(2).flat_map(str::lines);
    for line in outside_of_code {
        let heading = line.trim_start_matches('#');
        let Some(heading) =
            heading.strip_prefix(' ').filter(|heading| heading.len() + 1 < line.len())
        else {
            continue;
        };
        let kept =
            heading.trim().chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let count = before.entry(anchor.clone()).or_default();
        anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

#[test]
fn an_anchor_is_what_a_forge_makes_of_a_heading() {
    let markdown = "# A `b`: C, d-e\n\n## Two\n```sh\n# no heading\n```\n## Two\n#not\n text";
    assert_eq!(anchors(markdown), ["a-b-c-d-e", "two", "two-1"]);
}

#[test]
fn every_test_that_shows_a_promise_is_there() {
    let readme = text("README.md");
    let from = readme.find("## How each promise is shown").unwrap();
    let rows: Vec<&str> = readme[from..]
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(". "))
        .collect();
    assert_eq!(rows.len(), 6);
    let promises = text("simulation/src/promises.rs");
    for row in rows {
        let tests = row.rsplit('|').nth(1).unwrap();
        let (here, simulated) = tests.split_once("; simulation ").unwrap();
        for test in here.split('`').skip(1).step_by(2) {
            let (module, name) = test.rsplit_once("::").unwrap();
            let module = format!("tests/it/{}", module.replace("::", "/"));
            if name == "*" {
                let is_there = |end| root().join(format!("{module}{end}")).exists();
                assert!(is_there(".rs") || is_there(""), "{test}");
            } else {
                let code = text(&format!("{module}.rs"));
                assert!(code.contains(&format!("fn {name}()")), "{test}");
            }
        }
        for promise in simulated.split('`').skip(1).step_by(2) {
            let is_there = promises.contains(&format!("\n    {promise},"));
            assert!(is_there || promise == "crash", "{promise}");
        }
    }
}

#[test]
fn every_kind_of_notice_is_told_of() {
    let document = text("docs/notices.md");
    for kind in Kind::ALL {
        let row = format!("\n| `{}` | ", kind.word());
        assert!(document.contains(&row), "{row}");
    }
}

#[test]
fn every_path_in_backticks_is_there() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/notices.md",
        "docs/status.md",
        "CONTRIBUTING.md",
    ];
    for document in documents {
        let text = text(document);
        let paths = text.split('`').skip(1).step_by(2).filter(|quoted| {
            ["src/", "tests/", "sandbox/", "docs/"].iter().any(|folder| quoted.starts_with(folder))
        });
        for path in paths {
            let whole = root().join(path.trim_end_matches('*'));
            let is_there = if path.ends_with('*') {
                let begin = whole.file_name().unwrap().to_str().unwrap();
                fs::read_dir(whole.parent().unwrap()).is_ok_and(|mut entries| {
                    entries.any(|entry| {
                        entry.unwrap().file_name().to_str().unwrap().starts_with(begin)
                    })
                })
            } else {
                whole.exists()
            };
            assert!(is_there, "{document} names {path}");
        }
    }
}

/// The words in code of a row or line that begins so.
fn words_of<'a>(document: &'a str, begins: &str) -> BTreeSet<&'a str> {
    let line = document.lines().find(|line| line.starts_with(begins));
    let line = line.unwrap_or_else(|| panic!("no {begins}"));
    let words = line[begins.len()..].split(';').next().unwrap();
    words.split('`').skip(1).step_by(2).filter(|word| !word.contains("_URL")).collect()
}

#[test]
fn every_part_is_in_the_documents() {
    use rancher_lets_encrypt::view::status::dependencies::PARTS;
    let metrics = text("docs/metrics.md");
    let begins = "| `part_needs_attention` | `part` | ";
    assert_eq!(words_of(&metrics, begins), BTreeSet::from(PARTS), "docs/metrics.md");
    let status = text("docs/status.md").replace("`CA`", "`ca`");
    let begins = "| `dependencies[].name` | text | ";
    assert_eq!(words_of(&status, begins), BTreeSet::from(PARTS), "docs/status.md");
}

#[test]
fn prometheus_is_sent_to_the_service_of_the_compose_file() {
    let compose = text("docker-compose.yml");
    let service = |end: &str| {
        let mut services =
            compose.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
        services.find(|name| !name.starts_with(' ') && name.ends_with(end)).unwrap().to_owned()
    };
    let (_, stack) = compose.split_once("rancher-compose -p ").unwrap();
    let stack = stack.split(' ').next().unwrap();
    // A sidekick is found below its primary service.
    let target = format!("{}.{}.{stack}", service("rancher-lets-encrypt"), service("-nginx"));
    let metrics = text("docs/metrics.md");
    assert!(metrics.contains(&format!("names: [{target}]")), "{target}");
    let port = config::render();
    let port = port.lines().find(|row| row.starts_with("| `LISTEN`")).unwrap();
    assert!(port.contains(":8080`") && metrics.contains("port: 8080"), "{port}");
}
