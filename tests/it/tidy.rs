//! What a reviewer would look for each time: layers, tables in the README, versions.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use rancher_lets_encrypt::config;
use rancher_lets_encrypt::decide::table;
use rancher_lets_encrypt::notify::notice::Kind;
use rancher_lets_encrypt::order;
use rancher_lets_encrypt::reaction;
use serde_json::Value;
use serde_json::json;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every source file of the daemon, with the module at the top that it belongs to.
fn sources() -> Vec<(String, String, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
            let module = name.split(['/', '.']).next().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            // Unit tests may look up to what they need; files of tests too.
            let code = text.split("\n#[cfg(test)]\n").next().unwrap();
            let code: Vec<&str> =
                code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = code.join("\n");
            if !name.ends_with("tests.rs") && !name.contains("/tests/") {
                sources.push((name, module, code));
            }
        }
    }
    sources
}

fn layers() -> Vec<String> {
    let text = text("src/lib.rs");
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules.map(str::to_owned).collect()
}

#[test]
fn modules_use_only_those_above_them() {
    let layers = layers();
    let place = |module: &str| layers.iter().position(|layer| layer == module);
    for (file, module, code) in sources() {
        let Some(own) = place(&module) else { continue };
        for (used, _) in code.match_indices("crate::") {
            let used: String = code[used + 7..]
                .chars()
                .take_while(|char| char.is_ascii_alphanumeric() || *char == '_')
                .collect();
            let Some(used_place) = place(&used) else {
                panic!("{file} uses crate::{used}, which is no module")
            };
            assert!(used_place <= own, "{file} uses crate::{used}, which stands below it");
        }
    }
}

#[test]
fn the_codemap_has_every_module_in_its_order() {
    let architecture = text("ARCHITECTURE.md");
    let rows = architecture.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows: Vec<(&str, &str)> = rows.collect();
    let mut modules = layers();
    modules.push("main".to_owned());
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), modules);
    for (file, module, _) in sources() {
        let Some((_, part)) = file.trim_end_matches(".rs").split_once('/') else {
            continue;
        };
        let row = rows.iter().find(|row| row.0 == module);
        let is_told = row.is_some_and(|row| row.1.contains(&format!("`{part}`")));
        assert!(is_told, "{file}");
    }
}

#[test]
fn libraries_stay_behind_their_adapters() {
    let allowed: [(&str, &[&str]); 8] = [
        ("instant_acme", &["acme"]),
        ("reqwest", &["client", "acme", "rancher", "probe", "config", "notify", "cli", "main"]),
        ("hickory_resolver", &["probe"]),
        ("axum", &["http"]),
        ("prometheus_client", &["metrics"]),
        ("std::fs", &["disk", "webroot", "start", "main"]),
        ("std::env", &["main"]),
        ("now_utc", &["main"]),
    ];
    for (file, module, code) in sources() {
        for (library, modules) in allowed {
            assert!(
                !code.contains(library) || modules.contains(&module.as_str()),
                "{file} uses {library}"
            );
        }
    }
    let of = |module: &str, other: &str| {
        sources()
            .iter()
            .any(|(_, own, code)| own == module && code.contains(&format!("crate::{other}")))
    };
    assert!(!of("rancher", "acme") && !of("acme", "rancher"));
}

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
fn the_quick_tests_run_no_program_that_has_to_be_installed() {
    let makefile = text("Makefile");
    let real = makefile.lines().find_map(|line| line.strip_prefix("REAL := ")).unwrap();
    let real: Vec<&str> = real.split(' ').collect();
    // What every Debian has.
    let everywhere = ["cp", "unshare", "/bin/sh"];
    let own = root().join("tests/it");
    let mut folders = vec![own.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&own).unwrap().with_extension("");
            let module = name.to_str().unwrap().replace('/', "::");
            let code = fs::read_to_string(&path).unwrap();
            let is_left_out = |skipped: &&str| format!("{module}::").starts_with(*skipped);
            let is_support = module.starts_with("support::") || module == "tidy";
            if is_support || real.iter().any(is_left_out) {
                continue;
            }
            let runs = code.split("Command::new(\"").skip(1);
            let program = runs
                .filter_map(|rest| rest.split('"').next())
                .find(|program| !everywhere.contains(program));
            let openssl = code.contains("tree::openssl;").then_some("openssl");
            assert_eq!(program.or(openssl), None, "{module} runs it: see REAL in the Makefile");
        }
    }
}

#[test]
fn every_path_that_the_documents_name_is_there() {
    for document in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/notices.md"] {
        let text = text(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(root().join(path).exists(), "{document} links to {path}");
        }
    }
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
fn the_version_is_in_the_changelog() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("CHANGELOG.md").contains(&format!("## {version}")), "{version}");
}

#[test]
fn every_dependency_has_its_reason() {
    let paths: Vec<PathBuf> = vec![
        root().join("Cargo.toml"),
        root().join("sandbox/Cargo.toml"),
        root().join("simulation/Cargo.toml"),
    ];
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let section = |at: usize| {
            lines[..at].iter().rev().find(|line| line.starts_with('[')).copied().unwrap_or("")
        };
        for (at, line) in
            lines.iter().enumerate().filter(|(at, _)| section(*at).contains("dependencies"))
        {
            let is_dependency =
                line.contains(" = ") && !line.starts_with('#') && !line.starts_with("sandbox");
            if is_dependency {
                let before =
                    lines[..at].iter().rev().find(|line| line.starts_with('#') || line.is_empty());
                assert!(
                    before.is_some_and(|line| line.starts_with('#')),
                    "{}: no reason for {line}",
                    path.display()
                );
            }
        }
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
        // "CONTRIBUTING.md",
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

#[test]
fn every_place_that_names_a_version_of_rust_names_the_same() {
    let rust = env!("CARGO_PKG_RUST_VERSION");
    let places = [
        ("rust-toolchain.toml", format!("\nchannel = \"{rust}.0\"\n")),
        ("Dockerfile", format!("\nFROM rust:{rust}-alpine ")),
        (".github/workflows/test.yml", format!("image: rust:{rust}-bookworm\n")),
        ("README.md", format!("Rust {rust} ")),
    ];
    for (path, named) in places {
        assert!(text(path).contains(&named), "{path} is to name {named}");
    }
}

#[test]
fn a_forge_runs_make_test_and_nothing_else() {
    let workflow: Value = serde_saphyr::from_str(&text(".github/workflows/test.yml")).unwrap();
    for event in ["push", "pull_request"] {
        assert!(workflow["on"].get(event).is_some(), "{event}: {workflow}");
    }
    let jobs = workflow["jobs"].as_object().unwrap().values();
    let steps: Vec<&Value> = jobs.flat_map(|job| job["steps"].as_array().unwrap()).collect();
    let (runs, uses): (Vec<&Value>, Vec<&Value>) =
        steps.into_iter().partition(|step| step.get("run").is_some());
    assert_eq!(runs, [&json!({ "run": "make test" })]);
    assert_eq!(uses, [&json!({ "uses": "actions/checkout@v4" })]);
}

#[test]
fn make_test_begins_with_make_check_and_repeats_nothing_of_it() {
    let makefile = text("Makefile");
    let recipe = |target: &str| {
        let begin = format!("\n{target}: ");
        let from = makefile.find(&begin).unwrap() + begin.len();
        makefile[from..].split("\n\n").next().unwrap().to_owned()
    };
    let check = recipe("check");
    let steps =
        ["fmt", "clippy", "tidy::", "cargo doc", "machete", "licenses bans sources", "advisories"];
    let places: Vec<usize> = steps.iter().map(|step| check.find(step).unwrap()).collect();
    assert!(places.is_sorted(), "{check}");
    let test = recipe("test");
    assert!(test.starts_with("check setup static "), "{test}");
    assert!(test.contains("--skip tidy::"), "{test}");
    for step in ["fmt", "clippy", "cargo doc", "machete", "cargo-deny"] {
        assert!(!test.contains(step), "{step}: {test}");
    }
}
