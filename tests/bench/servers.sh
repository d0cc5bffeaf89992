# Starting and stopping the servers that run.sh measures. Sourced, after $here, $bin and $dir are set.
# Each server runs in a CPU-accounting cgroup of its own where the machine has them, so that the
# CPU of every process it starts counts; else its process tree is summed.

postfix_port='' dovecot_port='' dovecot_imap_port='' smtp_port='' pop3_port='' imap_port='' imaps_port='' pillarbox_pid='' password=''
tracer=''
# What Pillarbox delivers itself, what it sends on, and where to; who owns its mailboxes.
local_domain=test.example routed_domain=relay.example routed_port='' mail_owner='' smtp_tls=none

# Outside the range from which the system hands out ports, so that no connection takes it meanwhile; none twice.
free_port() {
    python3 - "$dir/ports" <<'PY'
import random, socket, sys
with open(sys.argv[1], "a+") as given:
    given.seek(0)
    taken = given.read().split()
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if str(port) not in taken:
            break
    print(port, file=given)
print(port)
PY
}
sink_port=$(free_port)

cgroup_base=
for base in /sys/fs/cgroup/cpuacct /sys/fs/cgroup; do
    if mkdir "$base/pillarbox-bench.$$" 2>/dev/null; then
        if [ -e "$base/pillarbox-bench.$$/cgroup.procs" ]; then
            cgroup_base=$base/pillarbox-bench.$$
            break
        fi
        rmdir "$base/pillarbox-bench.$$"
    fi
done

in_group() { # server command...
    local server=$1
    shift
    if [ -n "$cgroup_base" ]; then
        "$here/peers/in_cgroup.sh" "$cgroup_base/$server" "$@"
    else
        "$@"
    fi
}

cpu_of() { # the option that tells smtp_bench.py where to read the server's CPU
    if [ -n "$cgroup_base" ]; then
        echo "--cgroup $cgroup_base/$1"
    elif [ "$1" = pillarbox ]; then
        echo "--pid $pillarbox_pid"
    elif [ "$1" = postfix ]; then
        echo "--pid $(cat "$dir/postfix/queue/pid/master.pid")"
    else
        echo "--pid $(cat "$dir/dovecot/run/master.pid")"
    fi
}

wait_for_port() {
    python3 - "$1" <<'PY'
import socket, sys, time
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).close()
        sys.exit(0)
    except OSError:
        time.sleep(0.05)
sys.exit("nothing listens on port " + sys.argv[1])
PY
}

write_pillarbox_config() {
    mkdir -p "$dir/pillarbox/spool" "$dir/pillarbox/mail"
    chmod 755 "$dir/pillarbox" "$dir/pillarbox/mail"
    smtp_port=${smtp_port:-$(free_port)} pop3_port=$(free_port) imap_port=$(free_port) imaps_port=$(free_port)
    cat > "$dir/pillarbox.conf" <<CONF
# Not the name of Postfix: between two hosts of one name mail would loop.
hostname = "pillarbox.example"
domains  = ["$local_domain"]
users    = ["$dir/pillarbox/users"]
user     = ""
postmaster = "u1"
spool    = "$dir/pillarbox/spool"
mail     = "$dir/pillarbox/mail"
pid_file = "$dir/pillarbox/pid"

[[listen]]
address  = "127.0.0.1:$smtp_port"
protocol = "smtp"
tls      = "$smtp_tls"

[[listen]]
address  = "127.0.0.1:$pop3_port"
protocol = "pop3"
tls      = "none"

[[listen]]
address  = "127.0.0.1:$imap_port"
protocol = "imap"
tls      = "none"

[[listen]]
address  = "127.0.0.1:$imaps_port"
protocol = "imap"
tls      = "implicit"

[auth]
plaintext = "always"

[limits]
sessions = 2000

[smtp]
relay_networks = ["127.0.0.0/8"]

[[route]]
domain = "$routed_domain"
host   = "127.0.0.1:${routed_port:-$sink_port}"

[queue]
retry = ["1s", "2s"]

[log]
to    = "stderr"
level = "info"
CONF
    password=secret
    printf '%s\n' "$password" | "$bin/pillarboxctl" -f "$dir/pillarbox.conf" user add big
    # One hash serves all: making a thousand would take half a minute.
    local hash
    hash=$(sed -n 's/^big://p' "$dir/pillarbox/users")
    {
        for n in $(seq 20); do echo "u$n:$hash"; done
        echo "u:$hash"
        for n in $(seq 2 50); do echo "${n}u:$hash"; done
        for n in $(seq 1000); do echo "m$n:$hash"; done
    } >> "$dir/pillarbox/users"
    [ -z "$mail_owner" ] || chown -R "$mail_owner:" "$dir/pillarbox"
}

start_pillarbox() {
    [ -z "$pillarbox_pid" ] || return 0
    [ -e "$dir/pillarbox.conf" ] || write_pillarbox_config
    local as=
    [ -z "$mail_owner" ] || as="setpriv --reuid $mail_owner --regid $mail_owner --clear-groups"
    # shellcheck disable=SC2086
    in_group pillarbox $as ${tracer-} "$bin/pillarbox" -d -f "$dir/pillarbox.conf" 2>> "$dir/pillarbox.log" &
    pillarbox_pid=$!
    wait_for_port "$smtp_port" || { tail -5 "$dir/pillarbox.log"; exit 1; }
}

stop_pillarbox() {
    [ -n "$pillarbox_pid" ] || return 0
    kill "$(cat "$dir/pillarbox/pid" 2>/dev/null || echo "$pillarbox_pid")" 2>/dev/null || true
    wait "$pillarbox_pid" 2>/dev/null || true
    pillarbox_pid=
}

start_postfix() {
    [ -n "${PILLARBOX_PEER_ROOT-}" ] && [ -z "$postfix_port" ] || return 0
    local port
    port=$(free_port)
    "$here/peers/postfix_setup.sh" "$dir/postfix" "$port" "$sink_port" "$(id -u vmail)"
    printf "%s\n" "${postfix_extra-}" >> "$dir/postfix/etc/main.cf"
    # It logs through a daemon of its own; its master leaves this shell.
    in_group postfix postfix -c "$dir/postfix/etc" start > "$dir/postfix.out" 2>&1 || { cat "$dir/postfix.out"; exit 1; }
    wait_for_port "$port"
    postfix_port=$port
}

start_dovecot() {
    [ -n "${PILLARBOX_PEER_ROOT-}" ] && [ -z "$dovecot_port" ] || return 0
    local port
    port=$(free_port) dovecot_imap_port=$(free_port)
    "$here/peers/dovecot_setup.sh" "$dir/dovecot" "$dovecot_imap_port" "$port" "$(id -u vmail)"
    printf '%s\n' "${dovecot_extra-}" >> "$dir/dovecot/dovecot.conf"
    in_group dovecot dovecot -c "$dir/dovecot/dovecot.conf"
    wait_for_port "$port"
    wait_for_port "$dovecot_imap_port"
    dovecot_port=$port
}

stop_all() {
    stop_pillarbox
    if [ -n "$postfix_port" ]; then postfix -c "$dir/postfix/etc" stop > /dev/null 2>&1 || true; fi
    # A scenario starts it in a shell of its own: its pid file tells, not our variable.
    if [ -e "$dir/dovecot/run/master.pid" ]; then doveadm -c "$dir/dovecot/dovecot.conf" stop > /dev/null 2>&1 || true; fi
    postfix_port='' dovecot_port=''
    if [ -n "$cgroup_base" ]; then
        for _ in $(seq 50); do
            rmdir "$cgroup_base"/* "$cgroup_base" 2>/dev/null && break
            sleep 0.1
        done
        cgroup_base=
    fi
}
