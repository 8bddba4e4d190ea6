//! The Dockerfile: what it puts into the image.

use super::listen_port;

const DOCKERFILE: &str = include_str!("../../../Dockerfile");

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
    let compile = "cargo build --release --locked --target x86_64-unknown-linux-musl \
                   --bin rancher-lets-encrypt ";
    assert!(build.iter().any(|line| line.contains(compile)), "{build:?}");
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
