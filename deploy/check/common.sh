# shellcheck shell=bash
# shellcheck disable=SC2034  # the scripts use them
# Sourced by the scripts beside it: a folder of their own, Debian's packages as a base, and a podman that keeps
# everything in that folder. CHECK_FOLDER names it; what takes long to make stays there until `check/clean`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
CHECK_FOLDER=${CHECK_FOLDER:-/var/tmp/chatflow-ingest-check}
suite=bookworm
python_image=localhost/check/python:3.11
servers_image=localhost/check/servers:$suite

say() {
    printf '\n=== %s\n' "$*" >&2
}

fail() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}

need() { # PACKAGE: PROGRAM
    for pair in "$@"; do
        command -v "${pair#*:}" >/dev/null || fail "${pair#*:} is not here: apt-get install ${pair%:*}"
    done
}

# Runs a command again until it goes well, or the seconds are over.
within() { # SECONDS COMMAND...
    local until=$((SECONDS + $1))
    shift
    until "$@" >"$CHECK_FOLDER/last" 2>&1; do
        ((SECONDS < until)) || {
            cat "$CHECK_FOLDER/last" >&2
            fail "$*"
        }
        sleep 1
    done
}

# Everything that podman writes lies in our folder. No limit is asked for that this machine may not give.
prepare_podman() {
    need podman:podman runc:runc
    mkdir -p "$CHECK_FOLDER"/podman/{run,networks,tmp}
    cat >"$CHECK_FOLDER/podman/storage.conf" <<END
[storage]
driver = "${CHECK_STORAGE_DRIVER:-overlay}"
graphroot = "$CHECK_FOLDER/podman/storage"
runroot = "$CHECK_FOLDER/podman/run"
END
    cat >"$CHECK_FOLDER/podman/containers.conf" <<END
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$CHECK_FOLDER/podman/tmp"
[network]
network_backend = "netavark"
network_config_dir = "$CHECK_FOLDER/podman/networks"
END
    export CONTAINERS_STORAGE_CONF=$CHECK_FOLDER/podman/storage.conf
    export CONTAINERS_CONF=$CHECK_FOLDER/podman/containers.conf
    unset NOTIFY_SOCKET
}

# A folder with Debian and its Python, and this machine's certificates, for the package index may need them.
make_base() {
    [ -e "$CHECK_FOLDER/base/.complete" ] && return
    need debootstrap:debootstrap
    say "debootstrap $suite"
    rm -rf "$CHECK_FOLDER/base"
    mkdir -p "$CHECK_FOLDER"
    timeout 900 debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python-is-python3 \
        "$suite" "$CHECK_FOLDER/base" "${CHECK_MIRROR:-http://deb.debian.org/debian}" >"$CHECK_FOLDER/debootstrap.log" ||
        fail "debootstrap, see $CHECK_FOLDER/debootstrap.log"
    cp /etc/ssl/certs/ca-certificates.crt "$CHECK_FOLDER/base/etc/ssl/certs/ca-certificates.crt"
    touch "$CHECK_FOLDER/base/.complete"
}
