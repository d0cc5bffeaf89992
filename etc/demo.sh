#!/bin/sh
# make demo: runs the daemon from the build directory $1 on ports of this machine only, with the users alice and bob. All its
# state lies in ./var, so the next start finds the mail of this one. Ctrl-C stops it.
set -eu
bin=$1
conf=var/pillarbox.conf
umask 022
mkdir -p var/bin
for name in pillarboxctl sendmail mailq; do
    ln -sfn "../../$bin/pillarboxctl" "var/bin/$name"
done

# Does something listen on this port?
taken() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "$(printf ':%04X 0*:0000 0A' "$1")"
}

# The first free port from $1 on.
free() {
    port=$1
    while taken "$port"; do port=$((port + 1)); done
    echo "$port"
}

smtp=$(free 2525)
submission=$(free 2587)
pop3=$(free 2110)
imap=$(free 2143)
web=$(free 2443)

cat > "$conf" <<END
# Written by make demo, anew at each start.
hostname   = "localhost"
postmaster = "alice"
user       = ""
users      = ["users"]
spool      = "spool"
mail       = "mail"

[[listen]]
address  = "127.0.0.1:$smtp"
protocol = "smtp"

[[listen]]
address  = "127.0.0.1:$submission"
protocol = "submission"

[[listen]]
address  = "127.0.0.1:$pop3"
protocol = "pop3"

[[listen]]
address  = "127.0.0.1:$imap"
protocol = "imap"

[[listen]]
address  = "127.0.0.1:$web"
protocol = "http"

[log]
level = "warn"
END

# Passwords are made at the first start and kept; an account whose password is lost gets a new one.
password() {
    kept="var/password.$1"
    if ! [ -s "$kept" ] || ! grep -qs "^$1:" var/users; then
        (umask 077 && LC_ALL=C tr -dc 'a-hjkmnp-z2-9' < /dev/urandom | head -c 12 > "$kept")
        if grep -qs "^$1:" var/users; then act=passwd; else act=add; fi
        "$bin/pillarboxctl" -f "$conf" user "$act" "$1" < "$kept" >&2
    fi
    cat "$kept"
}
alice=$(password alice)
bob=$(password bob)

# Tells how to use it as soon as it is there.
tell() {
    until taken "$imap"; do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    cat <<END

Pillarbox serves SMTP on 127.0.0.1:$smtp, submission on 127.0.0.1:$submission, POP3 on 127.0.0.1:$pop3,
IMAP on 127.0.0.1:$imap, webmail on https://127.0.0.1:$web/ (the certificate is self-signed).
Users: alice, password $alice
       bob,   password $bob
Mail, queue and configuration are in ./var. Ctrl-C stops it. Try, in another terminal, in this directory:

  printf 'Subject: hello\r\n\r\nIt works.\r\n' | curl -sS smtp://127.0.0.1:$submission -u alice:$alice --mail-from alice@localhost --mail-rcpt bob@localhost -T -
  curl -sS pop3://127.0.0.1:$pop3/1 -u bob:$bob
  $bin/pillarboxctl -f $conf queue list

END
}
tell $$ &
exec "$bin/pillarbox" -d -f "$conf"
