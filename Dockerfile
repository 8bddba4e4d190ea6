# Builds the daemon as one static binary and puts nothing else into the image.
#
#   docker build -t rancher-lets-encrypt .
#
# tests/docker/daemon-image.sh builds the last stage alone, with a binary made outside.

# Alpine's Rust has musl as its own target, and the C compiler and musl headers that ring needs. The
# image is that of the machine which is asked for (`docker buildx build --platform linux/arm64 .`,
# or wherever the classic builder runs), so the target is asked for, not named: no path has an x86.
FROM rust:1.95-alpine AS build
WORKDIR /source
COPY . .
RUN target=$(rustc -vV | sed -n 's/^host: //p') && test -n "$target" \
    && cargo build --release --locked --target "$target" --bin rancher-lets-encrypt \
    && cp "target/$target/release/rancher-lets-encrypt" /rancher-lets-encrypt

# No certificate files: the public CA roots are compiled in (webpki-root-certs). No user: volumes may
# hold files of others, and docker-compose.yml takes root's rights away save two.
FROM scratch
LABEL org.opencontainers.image.title="rancher-lets-encrypt" \
      org.opencontainers.image.description="Certificate daemon for Rancher 1.x" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /rancher-lets-encrypt /rancher-lets-encrypt
# No VOLUME: it would give a container that was started without a store an anonymous one, lost with
# the container, which the daemon could not tell from a store that lasts.
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["/rancher-lets-encrypt", "healthcheck"]
ENTRYPOINT ["/rancher-lets-encrypt"]
