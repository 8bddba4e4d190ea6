//! What a reviewer would look for each time: layers, tables in the README, versions.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use rancher_lets_encrypt::config;
use rancher_lets_encrypt::core::reaction;
use rancher_lets_encrypt::decide::order;
use rancher_lets_encrypt::decide::table;
use rancher_lets_encrypt::view::notify::notice::Kind;
use serde_json::Value;
use serde_json::json;

mod documents;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A source file of the daemon, without comments and tests.
pub(crate) struct Source {
    /// Its path below `src`.
    file: String,
    /// Its modules, from the top.
    modules: Vec<String>,
    pub(crate) code: String,
}

impl Source {
    fn folder(&self) -> &str {
        &self.modules[0]
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let src = root().join("src");
    let files = files_below(&src).into_iter().filter_map(|path| {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let is_test = file.ends_with("tests.rs") || file.contains("/tests/");
        if is_test || !file.ends_with(".rs") {
            return None;
        }
        let modules = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let code = without_tests(&fs::read_to_string(&path).unwrap());
        Some(Source { file, modules, code })
    });
    files.collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

/// The lines of a file without comments, and without each item that only tests have: it ends with its line, or with the
/// brace that stands as far in as it began.
fn without_tests(text: &str) -> String {
    let mut code = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", &line[..indent]);
            let is_end = |line: &str| {
                line == end
                    || (line.len() > indent
                        && line.ends_with(';')
                        && !line[indent..].starts_with(' '))
            };
            assert!(lines.any(is_end), "where does it end, what only tests have?");
        } else if !line.trim_start().starts_with("//") {
            code.push(line);
        }
    }
    code.join("\n")
}

#[test]
fn only_what_tests_have_is_left_out() {
    let text = "use a;\n#[cfg(test)]\nuse b;\n    #[cfg(test)]\n    fn c() {\n        d;\n    }\n#[cfg(test)]\nmod e;\n// f\nfn g() {}";
    assert_eq!(without_tests(text), "use a;\nfn g() {}");
}

/// The public modules that a file lists, in its order.
fn listed(path: &str) -> Vec<String> {
    let text = text(path);
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules.map(str::to_owned).collect()
}

/// Whatever `code` names of a crate or module, as a path of one or two modules behind it.
fn uses(code: &str, of: &str) -> Vec<(String, Option<String>)> {
    let word = |text: &str| -> String {
        text.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect()
    };
    let uses = code.match_indices(of).map(|(at, _)| {
        let rest = &code[at + of.len()..];
        let first = word(rest);
        let second = rest[first.len()..].strip_prefix("::").map(word);
        (first, second)
    });
    uses.collect()
}

/// What each room at the top may use besides itself. `main` may use all.
const ROOMS: [(&str, &[&str]); 14] = [
    ("core", &[]),
    ("decide", &["core"]),
    ("ports", &["core"]),
    ("config", &["core", "decide"]),
    ("store", &["core", "decide", "ports"]),
    ("work", &["core", "decide", "ports", "config", "store"]),
    ("client", &["core"]),
    ("acme", &["core", "ports", "client"]),
    ("disk", &["core", "ports"]),
    // It reads the disk as it is, and keeps changes in memory.
    ("dry", &["core", "ports", "disk"]),
    ("probe", &["core", "ports", "client"]),
    // The self-check is the look of `probe`; files are reached as on every disk.
    ("solvers", &["core", "ports", "client", "disk", "probe"]),
    ("backends", &["core", "ports", "client"]),
    ("view", &["core", "decide", "ports", "config", "store", "work", "client", "probe"]),
];

#[test]
fn rooms_use_only_those_that_they_may() {
    assert_eq!(listed("src/lib.rs"), ROOMS.map(|(room, _)| room));
    let mut faults = Vec::new();
    for source in sources() {
        let Some((room, allowed)) = ROOMS.iter().find(|(room, _)| *room == source.folder()) else {
            continue;
        };
        for (used, _) in uses(&source.code, "crate::") {
            if used != *room && !allowed.contains(&used.as_str()) {
                faults.push(format!("{} uses crate::{used}", source.file));
            }
        }
    }
    faults.dedup();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Rooms whose modules stand in the order of their dependencies.
const ORDERED: [&str; 5] = ["core", "decide", "work", "backends", "view"];

#[test]
fn modules_use_only_those_above_them() {
    let mut faults = Vec::new();
    for room in ORDERED {
        let modules = listed(&format!("src/{room}.rs"));
        let place = |module: &str| modules.iter().position(|listed| listed == module);
        for source in sources().iter().filter(|source| source.folder() == room) {
            let Some(own) = source.modules.get(1).and_then(|module| place(module)) else {
                continue;
            };
            for (used, _) in uses(&source.code, &format!("crate::{room}::")) {
                if place(&used).is_some_and(|place| place > own) {
                    faults.push(format!("{} uses {used}, which stands below it", source.file));
                }
            }
        }
    }
    faults.dedup();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_codemap_has_every_module_in_its_order() {
    let architecture = text("ARCHITECTURE.md");
    let rows = architecture.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows: Vec<(&str, &str)> = rows.collect();
    let mut modules = Vec::new();
    for room in listed("src/lib.rs") {
        modules.push(room.clone());
        if ORDERED.contains(&room.as_str()) {
            modules.extend(
                listed(&format!("src/{room}.rs")).iter().map(|module| format!("{room}/{module}")),
            );
        }
    }
    modules.push("main".to_owned());
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), modules);
    for source in sources() {
        let path = source.modules.join("/");
        if modules.contains(&path) || path == "lib" {
            continue;
        }
        let depth = if ORDERED.contains(&source.folder()) { 2 } else { 1 };
        let (own, part) = (source.modules[..depth].join("/"), source.modules[depth..].join("/"));
        let row = rows.iter().find(|row| row.0 == own);
        let is_told = row.is_some_and(|row| row.1.contains(&format!("`{part}`")));
        assert!(is_told, "{path}");
    }
}

#[test]
fn libraries_stay_behind_their_adapters() {
    let allowed: [(&str, &[&str]); 9] = [
        ("instant_acme", &["acme"]),
        (
            "reqwest",
            &[
                "client",
                "acme",
                "backends/rancher",
                "probe",
                "config",
                "view/notify",
                "view/check",
                "view/cli",
                "main",
            ],
        ),
        ("hickory_resolver", &["probe"]),
        ("axum", &["view/http"]),
        ("hyper", &["view/http"]),
        ("prometheus_client", &["view/metrics"]),
        ("std::fs", &["disk", "solvers", "backends/host", "main"]),
        ("std::env", &["main"]),
        ("now_utc", &["main"]),
    ];
    let mut faults = Vec::new();
    for source in sources() {
        let path = source.modules.join("/");
        for (library, modules) in allowed {
            let may = |module: &&str| path == **module || path.starts_with(&format!("{module}/"));
            if source.code.contains(library) && !modules.iter().any(may) {
                faults.push(format!("{} uses {library}", source.file));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Who may name one destination besides its own folder: settings, who wires them, and what a person is advised to check.
const NAME_RANCHER: [&str; 5] =
    ["backends", "config", "main", "core/reaction", "view/status/dependencies"];

#[test]
fn a_destination_is_named_in_its_own_folder_only() {
    let mut faults = Vec::new();
    for source in sources() {
        let path = source.modules.join("/");
        let may = |room: &&str| path == **room || path.starts_with(&format!("{room}/"));
        let code = source.code.to_ascii_lowercase();
        // The label and the program itself are called so.
        let own = ["rancher_lets_encrypt", "rancher-lets-encrypt"];
        let code = own.iter().fold(code, |code, name| code.replace(name, ""));
        if code.contains("rancher") && !NAME_RANCHER.iter().any(may) {
            faults.push(source.file);
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
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
