#!/bin/bash
# Measures Pillarbox beside Postfix and Dovecot: same machine, same run, taking turns.
#
#   tests/bench/run.sh [CASE...]      (make bench: all of them)
#
# Cases: spread reuse hot one fanout big relay   mail by SMTP, beside Postfix
#        signed                                 reuse with signed mail of a stranger, which Postfix does not check
#        syncs syscalls                          strace's counts, 20 sessions on kept connections
#        memory start                            idle daemon, 1,000 POP3 sessions; start to ready
#        pop3                                    RETR of a 10 MiB maildrop, beside Dovecot
#        engine engine10                         mailboxes of 1 GiB and 10 MiB: open, flags, expunge, append,
#                                                memory, compaction; beside Dovecot's IMAP
#        imap                                    what clients ask of 1 GiB, both by IMAP
#        idle                                    memory of 1,000 sessions in IDLE, plain and by TLS
#
# RUNS=3 MESSAGES=5000 SESSIONS=20 change the size. Needs root and tests/deps.sh --peers for the
# peers; without them Pillarbox is measured alone (smtp-source must be in PATH).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
if [ -z "${PILLARBOX_PEER_ROOT-}" ]; then
    if [ "$(id -u)" = 0 ] && [ -x "$top/target/peers/root/usr/sbin/postfix" ]; then
        exec "$top/tests/peers/in_root.sh" "$here/run.sh" "$@"
    fi
    echo "no peers here (root and tests/deps.sh --peers are needed): measuring Pillarbox alone"
fi

cases=${*:-reuse spread hot one fanout big relay signed syncs memory start pop3 engine engine10 imap idle}
runs=${RUNS:-3} messages=${MESSAGES:-5000} sessions=${SESSIONS:-20}
bin=${PILLARBOX_BIN:-$top/target/release}
dir=$(mktemp -d "${TMPDIR:-/tmp}/pillarbox-bench.XXXXXX")
chmod 755 "$dir"
out=${OUT:-$top/target/bench-results.jsonl}
: > "$out"
# shellcheck source=tests/bench/servers.sh
. "$here/servers.sh"
name_server=
trap 'stop_all; [ -z "$name_server" ] || kill "$name_server"; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

wants() { [[ " $cases " == *" $1 "* ]]; }

smtp() { # server port mbox-pattern case
    local size=$messages
    "$here/smtp_bench.py" "${5-127.0.0.1}" "$2" --mbox "$3" $(cpu_of "$1") --truncate --label "$1" --out "$out" \
        --cases "$4" --runs 1 --messages "$size" --sessions "$sessions" --sink-port "$sink_port" --signed "$dir/signed/message" --rest 1 >/dev/null
}

for case in reuse spread hot one fanout big relay; do
    wants "$case" || continue
    start_pillarbox
    start_postfix
    for _ in $(seq "$runs"); do
        [ -z "$postfix_port" ] || smtp postfix "$postfix_port" "$dir/postfix/spool/{user}" "$case"
        smtp pillarbox "$smtp_port" "$dir/pillarbox/mail/{user}" "$case"
    done
done

# Pillarbox is to see a stranger, whom it checks: so it has another address, in a network of its own.
if wants signed && [ -z "${PILLARBOX_BENCH_NET-}" ]; then
    stop_pillarbox
    PILLARBOX_BENCH_NET=own OUT=$dir/signed.jsonl unshare --net "$here/run.sh" signed > /dev/null
    cat "$dir/signed.jsonl" >> "$out"
elif wants signed; then
    ip link set lo up
    ip address add 192.0.2.1/32 dev lo
    "$here/signed.py" "$dir/signed" 192.0.2.1
    dnsmasq --no-daemon --conf-file="$dir/signed/dnsmasq.conf" > "$dir/dnsmasq.log" 2>&1 &
    name_server=$!
    write_pillarbox_config
    printf '[[listen]]\naddress = "192.0.2.1:%s"\nprotocol = "smtp"\ntls = "none"\n[dns]\nservers = ["127.0.0.1"]\n' "$smtp_port" >> "$dir/pillarbox.conf"
    start_pillarbox
    start_postfix
    for _ in $(seq "$runs"); do
        [ -z "$postfix_port" ] || smtp postfix "$postfix_port" "$dir/postfix/spool/{user}" signed
        smtp pillarbox "$smtp_port" "$dir/pillarbox/mail/{user}" signed 192.0.2.1
    done
    checked=$(grep -c 'event=checked .*spf=pass.*dkim=pass.*dmarc=pass' "$dir/pillarbox.log" || true)
    [ "$checked" -ge $((runs * (messages / sessions) * sessions)) ] || { echo "only $checked messages were checked" >&2; exit 1; }
    stop_pillarbox
    kill "$name_server"
    name_server=
fi

for case in syncs syscalls; do
    wants "$case" || continue
    stop_pillarbox
    if [ "$case" = syncs ]; then calls=fdatasync,fsync,sync_file_range,syncfs; else calls=all; fi
    if command -v strace >/dev/null; then
        tracer="strace -f -c -o $dir/calls --seccomp-bpf -e trace=$calls" start_pillarbox
        smtp pillarbox "$smtp_port" "$dir/pillarbox/mail/{user}" reuse
        stop_pillarbox
        "$here/figures.py" calls "$dir/calls" --case "$case" --messages "$messages" --out "$out"
        [ "$case" = syncs ] || cat "$dir/calls"
    else
        echo "skipped: $case (no strace)"
    fi
done

if wants memory; then
    stop_pillarbox
    start_pillarbox
    "$here/figures.py" memory --port "$pop3_port" --pid "$(cat "$dir/pillarbox/pid")" --out "$out"
    stop_pillarbox
    start_pillarbox
    "$here/figures.py" memory --port "$pop3_port" --pid "$(cat "$dir/pillarbox/pid")" --log-in "$password" --out "$out"
fi

if wants idle; then
    for way in plain tls; do
        # What the sessions before left in the allocator is not counted.
        stop_pillarbox
        start_pillarbox
        if [ "$way" = tls ]; then port=$imaps_port more=--tls; else port=$imap_port more=; fi
        # shellcheck disable=SC2086
        "$here/idle_rss.py" 127.0.0.1 "$port" "$password" $(cpu_of pillarbox) --user 'm{n}' --count 1000 $more --case "idle $way" --label pillarbox --out "$out" > /dev/null
    done
fi

if wants start; then
    stop_pillarbox
    "$here/figures.py" start --program "$bin/pillarbox" --config "$dir/pillarbox.conf" \
        --fresh "$dir/pillarbox/spool" --runs 9 --out "$out"
fi

if wants pop3; then
    "$here/gen_mbox.py" "$dir/big.mbox" --messages 500
    start_pillarbox
    start_dovecot
    for _ in $(seq "$runs"); do
        for server in dovecot pillarbox; do
            if [ "$server" = dovecot ]; then
                [ -n "$dovecot_port" ] || continue
                port=$dovecot_port secret=secret box=$dir/dovecot/spool/big owner=vmail
                forget="rm -rf $dir/dovecot/index/big"
            else
                port=$pop3_port secret=$password box=$dir/pillarbox/mail/big owner=root forget=:
            fi
            "$here/pop3_bench.py" 127.0.0.1 "$port" big "$secret" --runs 1 --label "$server" --out "$out" $(cpu_of "$server") \
                --prepare "$forget; cp $dir/big.mbox $box; chown $owner: $box; chmod 600 $box" >/dev/null
        done
    done
fi

# Tests drive our engine, each in a process of its own; Dovecot's is asked by IMAP.
build_tests() {
    (cd "$top" && ${CARGO:-cargo} test --release --locked --lib --no-run --message-format=json) |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

for case in engine engine10; do
    wants "$case" || continue
    [ -n "${engine_tests-}" ] || engine_tests=$(build_tests)
    box=$top/target/bench/$case.mbox
    if [ "$case" = engine ]; then count=50000; else count=500; fi
    mkdir -p "$top/target/bench"
    [ -e "$box" ] || { "$here/gen_mbox.py" "$box.new" --messages "$count" && mv "$box.new" "$box"; }
    start_dovecot
    spool=$dir/dovecot/spool index=$dir/dovecot/index
    for _ in $(seq "$runs"); do
        if [ -n "$dovecot_imap_port" ]; then
            "$here/imap_bench.py" 127.0.0.1 "$dovecot_imap_port" big secret --runs 1 --bench "$case" --label dovecot --out "$out" \
                $(cpu_of dovecot) --parts select structure change append writers half --appends 100 --forget "rm -rf $index/big" \
                --prepare "rm -rf $index/* $spool/*; cp $box $spool/big; chown vmail: $spool/big; sync $spool/big" >/dev/null
            rm -rf "${spool:?}"/*
        fi
        for part in engine structures own appends memory; do
            TMPDIR=$dir PILLARBOX_BIG=$box PILLARBOX_OUT=$out \
                "$engine_tests" -q --ignored --exact "delivery::tests::measure::$part" > "$dir/engine.log" 2>&1 ||
                { cat "$dir/engine.log"; exit 1; }
        done
    done
done

# Both by IMAP, on the same mailbox; each begins with a file it has never seen, in memory.
if wants imap; then
    box=$top/target/bench/engine.mbox
    mkdir -p "$top/target/bench"
    [ -e "$box" ] || { "$here/gen_mbox.py" "$box.new" --messages 50000 && mv "$box.new" "$box"; }
    start_dovecot
    for _ in $(seq "$runs"); do
        for server in dovecot pillarbox; do
            parts='select list envelope structure sort whole search change' forget=''
            if [ "$server" = dovecot ]; then
                [ -n "$dovecot_imap_port" ] || continue
                port=$dovecot_imap_port secret=secret forget="rm -rf $dir/dovecot/index/big"
                rm -rf "${dir:?}"/dovecot/{index,spool}/*
                cp "$box" "$dir/dovecot/spool/big"
                chown vmail: "$dir/dovecot/spool/big"
            else
                stop_pillarbox
                rm -rf "${dir:?}"/pillarbox/{mail,spool}
                mkdir -p "$dir/pillarbox/mail" "$dir/pillarbox/spool"
                cp "$box" "$dir/pillarbox/mail/big"
                start_pillarbox
                port=$imap_port secret=$password
            fi
            sync
            "$here/imap_bench.py" 127.0.0.1 "$port" big "$secret" --runs 1 --bench imap --label "$server" --out "$out" \
                $(cpu_of "$server") --parts $parts ${forget:+--forget "$forget"} > /dev/null
        done
    done
fi

"$here/figures.py" table "$out"
