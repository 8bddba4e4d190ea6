//! The Dockerfile: what it puts into the image, and that it makes it for whatever machine it is asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::listen_port;

const DOCKERFILE: &str = include_str!("../../../Dockerfile");

/// Machines as they are called in Docker and by Rust: no instruction names one.
const MACHINES: &str = "x86 amd64 i386 i686 arm aarch ppc riscv s390 linux-musl platform";

#[test]
fn image_holds_the_static_binary_alone() {
    let mut build = instructions(DOCKERFILE);
    build.retain(|line| !line.starts_with("LABEL "));
    let last = build.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let runtime = build.split_off(last);
    // The stage is compared whole: what is not here, such as VOLUME, must stay out. The script
    // tests/docker/daemon-image.sh relies on the forms of FROM and COPY.
    assert_eq!(
        runtime,
        [
            "FROM scratch",
            "COPY --from=build /rancher-lets-encrypt /rancher-lets-encrypt",
            &format!("EXPOSE {}", listen_port()),
            "STOPSIGNAL SIGTERM",
            "HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
             CMD [\"/rancher-lets-encrypt\", \"healthcheck\"]",
            "ENTRYPOINT [\"/rancher-lets-encrypt\"]",
        ]
    );
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert_eq!(build[0], format!("FROM rust:{rust}-alpine AS build"));
}

#[test]
fn no_instruction_names_a_machine() {
    // Whoever names one in `FROM` takes the choice from `--platform`, and the classic builder knows no `--platform`.
    for line in instructions(DOCKERFILE) {
        for machine in MACHINES.split(' ') {
            assert!(!line.to_ascii_lowercase().contains(machine), "{machine}: {line}");
        }
    }
}

#[test]
fn binary_is_made_for_the_machine_that_the_rust_image_is_of() {
    for machine in ["x86_64", "aarch64", "powerpc64le"] {
        let host = format!("{machine}-unknown-linux-musl");
        assert_eq!(
            built(&host),
            format!("build --release --locked --target {host} --bin rancher-lets-encrypt")
        );
    }
}

#[test]
fn a_rust_image_that_does_not_say_what_it_is_of_builds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!run(folder.path(), ""));
}

/// Runs the compiling step with a compiler that is of `host`, and gives what `cargo` was asked for: its words are what
/// the stand-in for the binary holds.
#[track_caller]
fn built(host: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), &format!("host: {host}")));
    let binary = fs::read_to_string(folder.path().join("rancher-lets-encrypt")).unwrap();
    binary.trim().to_owned()
}

/// Runs the compiling step in a folder that stands for both the source and the root of the image.
fn run(folder: &Path, host: &str) -> bool {
    let rustc = format!("#!/bin/sh\necho 'rustc 1.0'\necho '{host}'\necho 'release: 1.0'\n");
    let cargo = "#!/bin/sh\nmkdir -p \"target/$5/release\"\n\
        echo \"$@\" >\"target/$5/release/rancher-lets-encrypt\"\n";
    for (name, script) in [("rustc", rustc.as_str()), ("cargo", cargo)] {
        let path = folder.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let build = instructions(DOCKERFILE);
    let steps: Vec<&str> = build.iter().filter_map(|line| line.strip_prefix("RUN ")).collect();
    let [step] = steps[..] else {
        panic!("one step compiles: {steps:?}");
    };
    let step = step.replace(" /rancher-lets-encrypt", " rancher-lets-encrypt");
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &step]).current_dir(folder).env_clear().env("PATH", path);
    shell.status().unwrap().success()
}

/// A Dockerfile's instructions, one a line and in single spaces.
fn instructions(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty())
        .collect()
}
