#!/bin/sh
# Fetches what the tests need; quick when everything is there.
#
#   tests/deps.sh             programs for `make check`: client tools, a DNS server, a browser, axe-core, mandoc, fail2ban's filters
#   tests/deps.sh --peers     and for `make check-peers` and `make bench`: Postfix and other servers, mail programs, strace
#   tests/deps.sh --system    and for `make check-system`: debootstrap, lintian
#
# Client tools are installed when this runs as root, else they are unpacked beside the
# servers. The servers are never installed: their packages, and the libraries they miss,
# are unpacked under target/peers/root, where no init system finds them.
# What cannot be had is named and left out; the tests that want it say "skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
peers=target/peers
root=$peers/root
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

note() { printf 'deps: %s\n' "$*"; }

# program:package, for what `make check` runs.
tools='curl:curl swaks:swaks gsasl:gsasl dnsmasq:dnsmasq-base python3:python3 openssl:openssl mandoc:mandoc xmllint:libxml2-utils'
# It finds its files only where it is installed.
browser='chromium:chromium chromedriver:chromium-driver'
# axe-core, which looks for what people can't use who do not see a page: a script that comes in a package for Python.
axe='axe-playwright-python==0.1.8'
axe_hash='sha256:fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8'
axe_tools='pip:python3-pip'
# What only the peers and the benchmarks need.
peer_tools='strace:strace opendkim-testmsg:opendkim-tools'
# Modules for the system's python3.
peer_modules='spf:python3-spf dkim:python3-dkim nacl:python3-nacl authheaders:python3-authheaders authres:python3-authres'
servers='postfix dovecot-core dovecot-pop3d dovecot-imapd'
# These want to be the only mail server, so each is asked for by itself.
more_servers='exim4-daemon-light opensmtpd dovecot-lmtpd haproxy'
# For a whole host with our package.
system_tools='debootstrap:debootstrap lintian:lintian'
# Postfix is among them because bsd-mailx wants a mail server, any.
programs='postfix mutt bsd-mailx s-nail alpine procmail isync offlineimap3 fetchmail imapfilter'
clients=msmtp

have() {
    case $1 in pip) python3 -m pip --version >/dev/null 2>&1; return ;; esac
    case $1 in spf | dkim | nacl | authheaders | authres) /usr/bin/python3 -c "import $1" >/dev/null 2>&1; return ;; esac
    PATH=$PATH:/usr/sbin:/sbin:$root/usr/bin:$root/usr/sbin command -v "$1" >/dev/null 2>&1
}

missing() {
    for pair in $1; do
        have "${pair%%:*}" || printf '%s ' "${pair##*:}"
    done
}

# A mirror may fail for a moment: three tries.
retried() {
    for pause in 2 10 0; do
        "$@" >"$log" 2>&1 && return 0
        [ "$pause" = 0 ] || sleep "$pause"
    done
    sed 's/^/deps:   /' "$log" | tail -5
    return 1
}

refresh_lists() {
    [ -z "${refreshed-}" ] || return 0
    refreshed=yes
    [ "$(id -u)" = 0 ] || return 0
    retried timeout 120 apt-get -qq update || note "the package lists cannot be refreshed (offline?)"
}

# Downloads packages with the dependencies this machine lacks, and unpacks them under $root.
unpack() {
    refresh_lists
    all=$(apt-get -s install --no-install-recommends "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    # Those named are wanted even where they are installed.
    # shellcheck disable=SC2086
    all=$(printf '%s\n' "$@" $all | sort -u)
    mkdir -p "$peers/archives" "$root"
    # shellcheck disable=SC2086
    (cd "$peers/archives" && retried timeout 300 apt-get -qq -o APT::Sandbox::User=root download $all) || return 1
    for name in $all; do
        for archive in "$peers/archives/$name"_*.deb; do
            dpkg -x "$archive" "$root" || return 1
        done
    done
}

tell_missing() {
    left=$(missing "$1")
    [ -z "$left" ] || note "cannot get: $left- the tests that need it will be skipped"
}

fetch_tools() {
    wanted=$(missing "$1")
    [ -n "$wanted" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        note "no apt-get here"
    elif [ "$(id -u)" = 0 ]; then
        note "installing $wanted"
        refresh_lists
        # shellcheck disable=SC2086
        retried timeout 300 apt-get -qq -y install --no-install-recommends $wanted
    else
        note "unpacking $wanted"
        # shellcheck disable=SC2086
        unpack $wanted
    fi
    tell_missing "$1"
}

fetch_unpacked() { # name packages...
    stamp=$peers/stamp.$1
    shift
    [ "$(cat "$stamp" 2>/dev/null)" = "$*" ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        note "no apt-get here: no $*"
        return 0
    fi
    note "unpacking $* under $root"
    if unpack "$@"; then
        printf '%s\n' "$*" > "$stamp"
    else
        note "cannot get $*: the tests and benchmarks that need them will be skipped"
    fi
}

# The package is unpacked, never installed.
fetch_axe() {
    [ "$(cat "$peers/stamp.axe" 2>/dev/null)" = "$axe" ] && return 0
    note "unpacking $axe"
    rm -rf "$peers/axe" && mkdir -p "$peers/axe" || return 0
    echo "$axe --hash=$axe_hash" > "$peers/axe/wanted"
    if retried timeout 60 python3 -m pip -q --retries 1 --timeout 15 download --no-deps --only-binary :all: --require-hashes \
        -d "$peers/axe" -r "$peers/axe/wanted" && python3 -m zipfile -e "$peers"/axe/*.whl "$peers/axe"; then
        echo "$axe" > "$peers/stamp.axe"
    else
        note "cannot get $axe: the test that needs it will be skipped"
    fi
}

fetch_tools "$tools"
if [ "$(id -u)" = 0 ]; then
    fetch_tools "$browser"
    fetch_tools "$axe_tools"
else
    tell_missing "$browser"
fi
fetch_axe
fetch_unpacked fail2ban fail2ban
if [ "${1-}" = --system ]; then
    fetch_tools "$system_tools"
fi
if [ "${1-}" = --peers ]; then
    fetch_tools "$peer_tools"
    fetch_tools "$peer_modules"
    # shellcheck disable=SC2086
    fetch_unpacked servers $servers
    # shellcheck disable=SC2086
    fetch_unpacked programs $programs
    for each in $more_servers $clients; do
        fetch_unpacked "$each" "$each"
    done
fi
exit 0
