#!/bin/bash
# make check-system: the Debian package on a Debian host of its own, in the place of Postfix.
#
#   tests/system/run.sh BUILT               BUILT: where the programs are, such as target/release
#
# debootstrap makes the host once, under target/system. Each run lays a memory file system over it that takes all
# changes, in namespaces of its own (files, network, processes, name), so nothing of the run is seen outside and nothing
# of it is left. What happens there is in host.sh. Needs root, and the network the first time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
system=$top/target/system
packages='postfix rsyslog cron bsd-mailx mutt procmail php-cli curl isync fail2ban iproute2 procps ca-certificates lsb-base'

skip() { echo "check-system: skipped: $*"; exit 0; }

[ "$(id -u)" = 0 ] || skip "it needs root"
command -v dpkg-deb > /dev/null || skip "this is not a Debian"
command -v debootstrap > /dev/null || skip "debootstrap is not here (tests/deps.sh --system)"
# The programs were built here, so the libraries there must not be older.
suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || skip "this is not a Debian"
unshare --mount --net --uts --ipc --pid --fork true 2> /dev/null || skip "no namespaces here"

# A host with Postfix and the programs that hand mail in and read it. No daemon is started while they are installed.
make_host() {
    local host=$system/host.new
    rm -rf "$host"
    mkdir -p "$system/archives"
    debootstrap --variant=minbase --cache-dir="$system/archives" "$suite" "$host" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
    printf '#!/bin/sh\nexit 101\n' > "$host/usr/sbin/policy-rc.d"
    chmod 755 "$host/usr/sbin/policy-rc.d"
    echo 'postfix postfix/main_mailer_type select Local only' | chroot "$host" debconf-set-selections
    echo example.test > "$host/etc/mailname"
    # shellcheck disable=SC2086
    chroot "$host" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -qq -y install --no-install-recommends $packages
    # From now on they are: without an init system nothing would be, unless this says so.
    sed -i 's/101/0/' "$host/usr/sbin/policy-rc.d"
    rm -rf "$system/host"
    mv "$host" "$system/host"
    echo "$suite $packages" > "$system/stamp"
}

if [ "$(cat "$system/stamp" 2> /dev/null)" != "$suite $packages" ]; then
    echo "check-system: making a host under $system"
    mkdir -p "$system"
    make_host > "$system/log" 2>&1 < /dev/null || { tail -5 "$system/log"; skip "the host cannot be made (offline?)"; }
fi

# Two packages: what is to be checked, and a later one of the same programs.
cd "$top"
rm -rf "$system"/*.deb "$system/newer"
etc/debian/build.sh "$1" "$system"
etc/debian/build.sh "$1" "$system/newer" "$(dpkg-deb -f "$system"/pillarbox_*.deb Version)+newer"
if command -v lintian > /dev/null; then
    lintian --allow-root --fail-on error "$system"/pillarbox_*.deb
else
    echo "check-system: skipped: lintian (it is not installed)"
fi

export system here
# shellcheck disable=SC2016
exec unshare --mount --propagation private --net --uts --ipc --pid --fork --kill-child bash -euc '
    over=$system/over root=$system/root
    mkdir -p "$over" "$root"
    mount -t tmpfs -o size=2G tmpfs "$over"
    mkdir "$over/new" "$over/work"
    mount -t overlay overlay -o "lowerdir=$system/host,upperdir=$over/new,workdir=$over/work" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    # Of its own: /dev/log is made there.
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty; do
        touch "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mkdir "$root/check"
    cp "$system"/pillarbox_*.deb "$root/check/pillarbox.deb"
    cp "$system"/newer/pillarbox_*.deb "$root/check/newer.deb"
    cp "$here/host.sh" "$root/check"
    hostname mail.example.test
    printf "127.0.0.1 localhost\n127.0.1.1 mail.example.test mail\n" > "$root/etc/hosts"
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$root" /bin/bash /check/host.sh
'
