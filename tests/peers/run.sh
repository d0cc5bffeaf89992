#!/bin/bash
# Real peers, load, and a long crash run: what `make check` has no time for.
#
#   tests/peers/run.sh [SCENARIO...]      (make check-peers: all of them)
#
# Postfix and Dovecot come from tests/deps.sh --peers: unpacked, never installed. Without root or
# without them the scenarios that need them are skipped, and said to be.
set -euo pipefail
peers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$peers/../.." && pwd)
here=$top/tests/bench
all='postfix_to_pillarbox pillarbox_to_postfix encrypted_both_ways postfix_away bounces_both_ways shared_mailbox dovecot_reads deliver race mailx_open snail_open mutt_declines emptied load crash'
scenarios=${*:-$all}

if [ -z "${PILLARBOX_PEER_ROOT-}" ]; then
    status=0
    # This one needs no peers, and is built here so that nothing is written inside the private root.
    if [[ " $scenarios " == *" crash "* ]]; then
        echo "crash: ${PILLARBOX_CRASH_ROUNDS:-200} rounds"
        (cd "$top" && PILLARBOX_CRASH_ROUNDS=${PILLARBOX_CRASH_ROUNDS:-200} ${CARGO:-cargo} test --locked --quiet --test integration -- crash::) || status=1
    fi
    rest=$(for name in $scenarios; do [ "$name" = crash ] || echo "$name"; done)
    [ -n "$rest" ] || exit $status
    # shellcheck disable=SC2086
    "$peers/in_root.sh" "$peers/run.sh" $rest || { [ $? = 77 ] || status=1; }
    exit $status
fi

bin=${PILLARBOX_BIN:-$top/target/release}
dir=$(mktemp -d "${TMPDIR:-/tmp}/pillarbox-peers.XXXXXX")
chmod 755 "$dir"
# shellcheck source=tests/bench/servers.sh
. "$here/servers.sh"
trap 'stop_all; umount -l "$dir/postfix/spool" "$dir/dovecot/spool" 2>/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

# Postfix has test.example and sends relay.example to Pillarbox; Pillarbox the other way round.
# Both deliver as vmail, so that they can share a mailbox.
local_domain=relay.example routed_domain=test.example mail_owner=vmail smtp_tls=starttls
smtp_port=$(free_port) sink_port=$smtp_port
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/key.pem" -out "$dir/cert.pem" -days 2 -subj /CN=bench.example 2>/dev/null
postfix_extra="smtp_tls_security_level = may
smtpd_tls_security_level = may
smtpd_tls_cert_file = $dir/cert.pem
smtpd_tls_key_file = $dir/key.pem
smtpd_tls_received_header = yes
minimal_backoff_time = 2s
queue_run_delay = 2s"
start_postfix
routed_port=$postfix_port
start_pillarbox

ours() { for n in $(seq 20); do echo "u$n@relay.example"; done; }
theirs() { for n in $(seq 20); do echo "u$n@test.example"; done; }
our_boxes="$dir/pillarbox/mail/{user}"
their_boxes="$dir/postfix/spool/{user}"
mail() { "$peers/mail.py" "$@"; }

postfix_to_pillarbox() {
    # shellcheck disable=SC2046
    mail send "$postfix_port" "$dir/in" --count 400 --to $(ours)
    mail check "$dir/in" --mbox "$our_boxes"
    mail check "$dir/in" --pop3 "$pop3_port" "$password"
}

pillarbox_to_postfix() {
    # shellcheck disable=SC2046
    mail send "$smtp_port" "$dir/out" --count 400 --to $(theirs)
    mail check "$dir/out" --mbox "$their_boxes"
}

encrypted_both_ways() {
    mail send "$smtp_port" "$dir/tls-out" --count 3 --threads 1 --tls --to u1@test.example
    mail check "$dir/tls-out" --mbox "$their_boxes"
    mail send "$postfix_port" "$dir/tls-in" --count 3 --threads 1 --tls --to u1@relay.example
    mail check "$dir/tls-in" --mbox "$our_boxes"
    # Postfix says how a message came to it; Pillarbox's Received field does by its protocol word.
    grep -A3 "^Received: from pillarbox.example" "$dir/postfix/spool/u1" | grep -q "using TLSv1"
    grep -A3 "^Received: from bench.example" "$dir/pillarbox/mail/u1" | grep -q ESMTPS
}

postfix_away() {
    postfix -c "$dir/postfix/etc" stop > /dev/null 2>&1
    mail send "$smtp_port" "$dir/away" --count 40 --threads 4 --to u1@test.example u2@test.example
    "$bin/pillarboxctl" -f "$dir/pillarbox.conf" queue list | grep -q u1@test.example
    in_group postfix postfix -c "$dir/postfix/etc" start > /dev/null 2>&1
    mail check "$dir/away" --mbox "$their_boxes"
}

bounces_both_ways() {
    mail send "$smtp_port" "$dir/ignored" --count 1 --threads 1 --from u3@relay.example --to nobody@test.example
    mail wait "$dir/pillarbox/mail/u3" "nobody@test.example"
    grep -q "^Content-Type: multipart/report" "$dir/pillarbox/mail/u3"
    mail send "$postfix_port" "$dir/ignored" --count 1 --threads 1 --from u3@test.example --to nobody@relay.example
    mail wait "$dir/postfix/spool/u3" "nobody@relay.example"
    grep -q "550 5.1.1" "$dir/postfix/spool/u3"
}

shared_mailbox() {
    # Both append to the same file, each by its own locks.
    rm -f "$dir/postfix/spool/u4"
    rm -f "$dir/pillarbox/mail/u4"
    install -o vmail -g vmail -m 600 /dev/null "$dir/pillarbox/mail/u4"
    mount --bind "$dir/pillarbox/mail" "$dir/postfix/spool"
    mail send "$postfix_port" "$dir/shared1" --count 300 --threads 8 --to u4@test.example &
    mail send "$smtp_port" "$dir/shared2" --count 300 --threads 8 --to u4@relay.example
    wait $!
    mail check "$dir/shared1" --mbox "$our_boxes"
    mail check "$dir/shared2" --mbox "$our_boxes"
    mail check "$dir/shared2" --pop3 "$pop3_port" "$password"
    umount -l "$dir/postfix/spool"
}

dovecot_reads() {
    start_dovecot
    mail send "$smtp_port" "$dir/dovecot-1" --count 50 --threads 5 --to u5@relay.example
    mount --bind "$dir/pillarbox/mail" "$dir/dovecot/spool"
    mail check "$dir/dovecot-1" --pop3 "$dovecot_port" secret --quoted
    # Dovecot has written its fields into the file; ours are still right.
    mail send "$smtp_port" "$dir/dovecot-2" --count 50 --threads 5 --to u5@relay.example
    mail check "$dir/dovecot-1" --pop3 "$pop3_port" "$password"
    mail check "$dir/dovecot-2" --pop3 "$pop3_port" "$password"
    mail check "$dir/dovecot-2" --pop3 "$dovecot_port" secret --quoted
    umount -l "$dir/dovecot/spool"
}

# Mail programs work on a mailbox of ours: tests/peers/programs.py tells what they do. Each gets a new one.
box=6
program() { # scenario, what it runs
    local scenario=$1
    shift
    local each
    for each in "$@"; do
        command -v "$each" > /dev/null || { echo "  skipped: no $each here"; return; }
    done
    "$peers/programs.py" "$scenario" "$dir/pillarbox/mail/u$box" "$smtp_port" "$pop3_port" "$password" "$mail_owner"
}
deliver() { program deliver procmail formail; }
race() { program race bsd-mailx s-nail mutt; }
mailx_open() { program mailx_open bsd-mailx; }
snail_open() { program snail_open s-nail; }
mutt_declines() { program mutt_declines mutt; }
emptied() { program emptied sh; }

load() {
    # shellcheck disable=SC2046
    mail send "$smtp_port" "$dir/load" --count 10000 --threads 20 --to $(ours)
    mail check "$dir/load" --mbox "$our_boxes"
}

status=0
for scenario in $scenarios; do
    begun=$(date +%s.%N)
    echo "$scenario"
    word=ok
    box=$((box + 1))
    set +e
    (set -e; "$scenario")
    [ $? = 0 ] || { word=FAILED; status=1; }
    set -e
    printf '%s ... %s (%.1f s)\n' "$scenario" "$word" "$(echo "$(date +%s.%N) - $begun" | python3 -c 'print(eval(input()))')"
    [ "$word" = ok ] || { grep -v " info " "$dir/pillarbox.log" || true; tail -5 "$dir/pillarbox.log"; }
done
exit $status
