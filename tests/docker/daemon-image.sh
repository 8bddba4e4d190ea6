#!/bin/sh
# Builds the last stage of the Dockerfile, as it stands, around a binary made outside: no image is
# pulled, where a whole build needs the Rust image (the classic builder runs every stage).
#
#   tests/docker/daemon-image.sh TAG BINARY
#
# Prints the image's id. BINARY must be static, as this makes it:
#   make static
set -eu

fail() {
    echo "daemon-image.sh: $*" >&2
    exit 1
}

[ $# -eq 2 ] || fail "two arguments are needed: the tag of the image and the static binary"
tag=$1
binary=$2
dockerfile=$(dirname "$0")/../../Dockerfile
[ -f "$binary" ] || fail "$binary is missing"
if ldd "$binary" 2>/dev/null | grep -q '=>'; then
    fail "$binary is not static: an image from scratch cannot run it"
fi
docker version >/dev/null 2>&1 || fail "no answer from Docker: is the engine running?"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 1' HUP INT TERM

# The build stage leaves the binary at its root, where the context has this one.
sed -n '/^FROM scratch/,$ s/^COPY --from=build /COPY /; /^FROM scratch/,$ p' \
    "$dockerfile" >"$context/Dockerfile"
install -m 0755 "$binary" "$context/rancher-lets-encrypt"
# Without the cache, because another run may remove an image that this one would build upon.
DOCKER_BUILDKIT=0 docker build --quiet --no-cache --tag "$tag" "$context" ||
    fail "docker build refused the image"
