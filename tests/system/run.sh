#!/bin/bash
# make check-system: the Debian package on a Debian host of its own, in the place of Postfix.
#
#   tests/system/run.sh BUILT               BUILT: where the programs are, such as target/release
#
# debootstrap makes the host once, under target/system. Each run lays a memory file system over it that takes all
# changes, in namespaces of its own (files, network, processes, name), so nothing of the run is seen outside and nothing
# of it is left. What happens there is in host.sh: once with init scripts, once with systemd as the first process. Needs
# root, and the network the first time.
set -euo pipefail
begun=$(date +%s)
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
system=$top/target/system
packages='systemd postfix rsyslog cron bsd-mailx mutt procmail php-cli curl isync fail2ban iproute2 procps ca-certificates lsb-base'

skip() { echo "check-system: skipped: $*"; exit 0; }

[ "$(id -u)" = 0 ] || skip "it needs root"
command -v dpkg-deb > /dev/null || skip "this is not a Debian"
command -v debootstrap > /dev/null || skip "debootstrap is not here (tests/deps.sh --system)"
# The programs were built here, so the libraries there must not be older.
suite=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") || skip "this is not a Debian"
unshare --mount --net --uts --ipc --cgroup --pid --fork true 2> /dev/null || skip "no namespaces here"

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

# The file system of a host, and what the kernel gives each.
stage() {
    local over=$system/over root=$system/root
    mkdir -p "$over" "$root"
    mount -t tmpfs -o size=2G tmpfs "$over"
    mkdir "$over/new" "$over/work"
    mount -t overlay overlay -o "lowerdir=$system/host,upperdir=$over/new,workdir=$over/work" "$root"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    # Of its own: /dev/log is made there.
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    local node
    for node in null:3 zero:5 full:7 random:8 urandom:9; do
        mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
    done
    mknod -m 666 "$root/dev/tty" c 5 0
    mkdir "$root/check"
    cp "$system"/pillarbox_*.deb "$root/check/pillarbox.deb"
    cp "$system"/newer/pillarbox_*.deb "$root/check/newer.deb"
    cp "$here/host.sh" "$root/check"
    hostname mail.example.test
    hostname > "$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 mail.example.test mail\n' > "$root/etc/hosts"
    chroot "$root" ip link set lo up
}

# Runs a command as the first process there.
boot() {
    # shellcheck disable=SC2016
    unshare --pid --fork --kill-child sh -euc 'root=$1; shift; mount -t proc proc "$root/proc"; exec chroot "$root" "$@"' \
        sh "$system/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

by_init_scripts() {
    stage
    boot /bin/bash /check/host.sh
}

by_systemd() {
    stage
    mount -t sysfs sysfs "$system/root/sys"
    mount -t cgroup2 cgroup2 "$system/root/sys/fs/cgroup" || skip "no cgroups for systemd here"
    # Its end is that of the host, with the same status.
    cat > "$system/root/etc/systemd/system/check.service" <<'END'
[Unit]
After=multi-user.target
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/bash /check/host.sh
StandardOutput=append:/check/said
StandardError=append:/check/said
[Install]
WantedBy=default.target
END
    ln -s /lib/systemd/system/multi-user.target "$system/root/etc/systemd/system/default.target"
    chroot "$system/root" systemctl --quiet enable check.service 2> /dev/null
    local status=0
    boot container=check /lib/systemd/systemd --system --show-status=false > "$system/root/check/systemd" 2>&1 || status=$?
    cat "$system/root/check/said" || cat "$system/root/check/systemd"
    return $status
}

# Each has a host of its own.
if [ "${2-}" = inside ]; then
    "$3"
    exit
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

for init in by_init_scripts by_systemd; do
    echo "$init"
    unshare --mount --propagation private --net --uts --ipc --cgroup "$0" "$1" inside "$init"
done
echo "check-system: $(($(date +%s) - begun)) s"
