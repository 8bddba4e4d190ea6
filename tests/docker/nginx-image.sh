#!/bin/sh
# Builds an image that stands in for nginx:alpine, without a registry: Debian's nginx with the
# libraries it needs, in the configuration of the official image.
#
#   tests/docker/nginx-image.sh TAG
#
# Prints the image's id. Needs Debian's nginx-light and a running Docker engine.
set -eu

fail() {
    echo "nginx-image.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "one argument is needed: the tag of the image"
tag=$1
nginx=/usr/sbin/nginx
[ -x "$nginx" ] && [ -r /etc/nginx/mime.types ] ||
    fail "$nginx or /etc/nginx/mime.types is missing: install Debian's nginx-light"
docker version >/dev/null 2>&1 || fail "no answer from Docker: is the engine running?"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM

# The container's workers run as `nginx` and must be able to enter every folder.
umask 022
chmod 0755 "$root"
mkdir -p "$root/etc/nginx/conf.d" "$root/usr/share/nginx/html" "$root/usr/sbin" \
    "$root/var/log/nginx" "$root/var/lib/nginx" "$root/run" "$root/tmp"
chmod 1777 "$root/tmp"

cp "$nginx" "$root/usr/sbin/nginx"
# Every absolute path that ldd prints is a library or the loader, which has its place in the binary.
ldd "$nginx" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
done

cp /etc/nginx/mime.types "$root/etc/nginx/mime.types"
cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
nginx:x:101:101:nginx:/var/cache/nginx:/sbin/nologin
END
cat >"$root/etc/group" <<'END'
root:x:0:
nginx:x:101:
END
cat >"$root/etc/nginx/nginx.conf" <<'END'
user nginx;
worker_processes auto;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;
events {
    worker_connections 1024;
}
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log;
    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
END
cat >"$root/etc/nginx/conf.d/default.conf" <<'END'
server {
    listen 80;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
    error_page 500 502 503 504 /50x.html;
    location = /50x.html {
        root /usr/share/nginx/html;
    }
}
END
# The official image has pages too: an empty volume is filled with them when nginx starts first.
echo '<h1>Welcome to nginx!</h1>' >"$root/usr/share/nginx/html/index.html"
echo '<h1>An error occurred.</h1>' >"$root/usr/share/nginx/html/50x.html"
ln -s /dev/stdout "$root/var/log/nginx/access.log"
ln -s /dev/stderr "$root/var/log/nginx/error.log"

tar -C "$root" --owner=0 --group=0 --numeric-owner -cf - . |
    docker import \
        --change 'ENTRYPOINT ["/usr/sbin/nginx", "-g", "daemon off;"]' \
        --change 'EXPOSE 80' \
        --change 'LABEL rancher-lets-encrypt.stand-in=nginx:alpine' \
        - "$tag" || fail "docker import refused the image"
