# Words and small tools that the scripts share. Read with `.`, never run.
# shellcheck shell=sh

say() { printf 'set-up: %s\n' "$*" >&2; }

# die WORDS... : says what is wrong (one argument a line) and ends with 3, "the system failed".
die() {
    for line in "$@"; do printf 'set-up: %s\n' "$line" >&2; done
    exit 3
}

have() { command -v "$1" >/dev/null 2>&1; }

# Tools for administrators live here, and a plain user's PATH often leaves it out.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if [ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ]; then PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"; fi
export PATH

# True when this user may change the machine without being asked for a password.
may_be_root() { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

is_debian() { [ -r /etc/debian_version ] && have apt-get; }

# True when set-up may add packages by itself.
may_install() { is_debian && may_be_root; }

# apt_get ARGS... : apt-get that asks nothing; package lists are fetched only when the first try fails.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}
apt_install() {
    say "installing $*"
    # --no-remove: set-up never takes away what somebody else installed.
    apt_get install --no-install-recommends --no-remove "$@" && return
    say "that failed; fetching the package lists and trying once more"
    apt_get update && apt_get install --no-install-recommends --no-remove "$@"
}
