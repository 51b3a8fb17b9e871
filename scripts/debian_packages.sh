#!/usr/bin/env bash
# Installs what tests need from Debian's packages: quick when it is there, and says why where it cannot.
set -euo pipefail

packages=(
    bubblewrap                       # sandbox of replicas
    python3-minimal                  # a Python that is not in the home folder of root
    podman runc netavark aardvark-dns containernetworking-plugins # the target `container`
    skopeo umoci                     # readers of images that are not ours
    docker-registry                  # images on the move
    slowhttptest sslscan             # clients of the gateway that are no good, or look for weak TLS
    prometheus                       # promtool: alert rules and queries (94 MB, no smaller package has it)
)

if ! command -v apt-get >/dev/null; then
    echo "not a Debian machine: tests that need ${packages[*]} say so and are left out" >&2
    exit 0
fi
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "not root: install ${missing[*]} for the tests that need them" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then  # tests need programs, and no service that starts with its package
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
