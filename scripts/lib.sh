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

# make_debian DIRECTORY PACKAGES [RELEASE] : creates a minimal Debian with these packages, separated by commas, by debootstrap from
# TIDEMILL_DEBIAN_MIRROR. Its default release is that of this machine, or bookworm.
make_debian() {
    mirror=${TIDEMILL_DEBIAN_MIRROR:-http://deb.debian.org/debian}
    may_be_root || die "debootstrap needs root. Run this once as root, or with sudo without a password."
    if ! have debootstrap; then
        may_install || die "'debootstrap' is missing. Install it with the system's package manager (it is in Debian, Ubuntu, Fedora, Arch)."
        apt_install debootstrap || die "apt-get could not install debootstrap; see its output above."
    fi
    suite=bookworm
    if [ -r /etc/os-release ]; then
        # shellcheck disable=SC1091 # not a file of this project
        codename=$(. /etc/os-release && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}") || codename=
        suite=${codename:-$suite}
    fi
    suite=${3:-$suite}
    as_root debootstrap --variant=minbase --include="$2" "$suite" "$1" "$mirror" >"$1.log" 2>&1 || {
        tail -n 20 "$1.log" >&2
        die "debootstrap failed, see above. TIDEMILL_DEBIAN_MIRROR names another mirror than $mirror."
    }
    as_root rm -rf "$1/var/cache/apt/archives" "$1/var/lib/apt/lists"
}
