#!/bin/sh
# Runs a command where Postfix and Dovecot seem to be installed, and nowhere else are:
#
#   tests/peers/in_root.sh COMMAND...
#
# In a mount namespace of its own, the unpacked packages are laid over /usr and /etc, with the
# accounts they want. Nothing of that is seen outside, and nothing is left behind. Needs root.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
root=$here/target/peers/root
etc=$here/target/peers/etc

if [ "${PILLARBOX_PEER_ROOT-}" = "$root" ]; then
    exec "$@"
fi
[ -x "$root/usr/sbin/postfix" ] || { echo "skipped: Postfix is not unpacked (tests/deps.sh --peers)"; exit 77; }
[ "$(id -u)" = 0 ] || { echo "skipped: a mount namespace needs root"; exit 77; }

if ! grep -qs opensmtpq "$etc/passwd"; then
    rm -rf "$etc" "$etc.new"
    mkdir -p "$etc.new/exim4"
    : > "$etc.new/exim4/trusted_configs"
    {
        cat /etc/passwd
        echo 'postfix:x:22101:22101::/var/spool/postfix:/usr/sbin/nologin'
        echo 'dovecot:x:22103:22103::/nonexistent:/usr/sbin/nologin'
        echo 'dovenull:x:22104:22104::/nonexistent:/usr/sbin/nologin'
        echo 'vmail:x:22105:22105::/nonexistent:/usr/sbin/nologin'
        echo 'Debian-exim:x:22106:22106::/var/spool/exim4:/usr/sbin/nologin'
        echo 'opensmtpd:x:22107:22107::/var/lib/opensmtpd/empty:/usr/sbin/nologin'
        echo 'opensmtpq:x:22108:22108::/var/lib/opensmtpd/empty:/usr/sbin/nologin'
    } > "$etc.new/passwd"
    {
        cat /etc/group
        echo 'postfix:x:22101:'
        echo 'postdrop:x:22102:'
        echo 'dovecot:x:22103:'
        echo 'dovenull:x:22104:'
        echo 'vmail:x:22105:'
        echo 'Debian-exim:x:22106:'
        echo 'opensmtpd:x:22107:'
        echo 'opensmtpq:x:22108:'
    } > "$etc.new/group"
    mv "$etc.new" "$etc"
fi

export root etc
lay='mount -t overlay overlay -o "lowerdir=$root/usr:/usr" /usr && mount -t overlay overlay -o "lowerdir=$etc:$root/etc:/etc" /etc'
unshare --mount --propagation private sh -c "$lay" || { echo "skipped: no overlay mounts here"; exit 77; }
PILLARBOX_PEER_ROOT=$root
export PILLARBOX_PEER_ROOT
exec unshare --mount --propagation private sh -euc "$lay; "'exec "$@"' sh "$@"
