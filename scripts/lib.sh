# Functions that the scripts share; sourced, not run.
# shellcheck shell=sh

say() { printf 'set-up: %s\n' "$*" >&2; }

# die LINE... : prints an error message and exits with 3, the code for system errors.
die() {
    for line in "$@"; do printf 'set-up: %s\n' "$line" >&2; done
    exit 3
}

have() { command -v "$1" >/dev/null 2>&1; }

# A user's PATH often lacks the directories of administration tools.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if [ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ]; then PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"; fi
export PATH

# True if this user can become root without a password.
may_be_root() { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

is_debian() { [ -r /etc/debian_version ] && have apt-get; }

# True if set-up can install packages.
may_install() { is_debian && may_be_root; }

# apt_get ARGS... : apt-get without prompts.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}
apt_install() {
    say "installing $*"
    # --no-remove: set-up never removes packages.
    apt_get install --no-install-recommends --no-remove "$@" && return
    say "failed; retrying with new package lists"
    apt_get update && apt_get install --no-install-recommends --no-remove "$@"
}
