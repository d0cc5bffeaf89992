#!/bin/bash
# One scenario, with daemons, users and a directory of its own:
#
#   scenarios.sh SCENARIO      (run.sh calls it, inside in_root.sh, in a process namespace that ends with it)
#
# Exit status 77: skipped. When it fails, it prints what the daemons logged and how they left their files.
set -Eeuo pipefail
scenario=$1
peers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$peers/../.." && pwd)
here=$top/tests/bench
bin=${PILLARBOX_BIN:-$top/target/release}
dir=$(mktemp -d "${TMPDIR:-/tmp}/pillarbox-peers.XXXXXX")
chmod 755 "$dir"
# shellcheck source=tests/bench/servers.sh
. "$here/servers.sh"
# Nobody measures here.
[ -z "$cgroup_base" ] || { rmdir "$cgroup_base" && cgroup_base=''; }

trap 'echo "  line $LINENO failed: $BASH_COMMAND"' ERR
trap 'exit 130' INT TERM
trap finish EXIT

finish() {
    local status=$?
    trap - ERR
    set +e
    [ $status = 0 ] || [ $status = 77 ] || tell
    stop_all
    umount -l "$dir/postfix/spool" "$dir/dovecot/spool" 2>/dev/null
    rm -rf "$dir"
    exit $status
}

tell() {
    echo "--- left in the queues"
    "$bin/pillarboxctl" -f "$dir/pillarbox.conf" queue list
    [ -z "$postfix_port" ] || postqueue -c "$dir/postfix/etc" -p
    echo "--- mailboxes"
    ls -l --full-time "$dir"/{pillarbox/mail,postfix/spool,dovecot/spool} 2>/dev/null
    for log in "$dir"/{pillarbox.log,postfix/maillog,dovecot/dovecot.log}; do
        [ -s "$log" ] || continue
        echo "--- ${log#"$dir"/}: what is not everyday, then the end"
        grep -Ev ' info |status=sent|: (connect|disconnect|client=|message-id=|from=<|removed)' "$log" | tail -100
        echo ...
        tail -60 "$log"
    done
}

# Pillarbox has relay.example, and sends test.example to Postfix; Postfix the other way round.
# Both deliver as vmail, so that they can share a mailbox.
local_domain=relay.example routed_domain=test.example mail_owner=vmail smtp_tls=starttls
smtp_port=$(free_port) sink_port=$smtp_port

with_postfix() {
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
}

ours() { for n in $(seq 20); do echo "u$n@relay.example"; done; }
theirs() { for n in $(seq 20); do echo "u$n@test.example"; done; }
our_boxes="$dir/pillarbox/mail/{user}"
their_boxes="$dir/postfix/spool/{user}"
mail() { "$peers/mail.py" "$@"; }

postfix_to_pillarbox() {
    with_postfix
    # shellcheck disable=SC2046
    mail send "$postfix_port" "$dir/in" --count 400 --to $(ours)
    mail check "$dir/in" --mbox "$our_boxes"
    mail check "$dir/in" --pop3 "$pop3_port" "$password"
}

pillarbox_to_postfix() {
    with_postfix
    # shellcheck disable=SC2046
    mail send "$smtp_port" "$dir/out" --count 400 --to $(theirs)
    mail check "$dir/out" --mbox "$their_boxes"
}

encrypted_both_ways() {
    with_postfix
    # Postfix says how a message came to it; Pillarbox's Received field does by its protocol word.
    mail send "$smtp_port" "$dir/out" --count 3 --threads 1 --tls --to u1@test.example
    mail check "$dir/out" --mbox "$their_boxes" --header '^Received: from pillarbox\.example .*\n\s+\(using TLSv1'
    mail send "$postfix_port" "$dir/in" --count 3 --threads 1 --tls --to u1@relay.example
    mail check "$dir/in" --mbox "$our_boxes" --header '^Received: from bench\.example .*\n\s+by pillarbox\.example .* with ESMTPS '
}

seven_bit_postfix() {
    # It takes no 8-bit mail, and keeps what it gets as it gets it.
    with_postfix
    echo 'smtpd_discard_ehlo_keywords = 8bitmime' >> "$dir/postfix/etc/main.cf"
    postfix -c "$dir/postfix/etc" reload > /dev/null 2>&1
    # shellcheck disable=SC2046
    mail send "$smtp_port" "$dir/out" --count 100 --to $(theirs)
    mail check "$dir/out" --mbox "$their_boxes" --seven-bit
    grep -q '^Content-Transfer-Encoding: quoted-printable' "$dir"/postfix/spool/u*
}

postfix_away() {
    with_postfix
    postfix -c "$dir/postfix/etc" stop > /dev/null 2>&1
    mail send "$smtp_port" "$dir/away" --count 40 --threads 4 --to u1@test.example u2@test.example
    queue=$("$bin/pillarboxctl" -f "$dir/pillarbox.conf" queue list)
    [[ $queue == *u1@test.example* ]]
    postfix -c "$dir/postfix/etc" start > /dev/null 2>&1
    mail check "$dir/away" --mbox "$their_boxes"
}

bounces_both_ways() {
    with_postfix
    mail send "$smtp_port" "$dir/out" --count 1 --threads 1 --from u3@relay.example --to nobody@test.example
    mail wait "$dir/pillarbox/mail/u3" 'nobody@test.example' 'Content-Type: multipart/report'
    mail send "$postfix_port" "$dir/in" --count 1 --threads 1 --from u3@test.example --to nobody@relay.example
    mail wait "$dir/postfix/spool/u3" 'nobody@relay.example' '550 5.1.1'
}

reports_both_ways() {
    # The host that delivers tells the sender at the other, if asked by way of that one.
    with_postfix
    mail send "$smtp_port" "$dir/out" --count 1 --threads 1 --from u6@relay.example --to u1@test.example \
        --mail RET=HDRS ENVID=out+2B1 --rcpt NOTIFY=SUCCESS 'ORCPT=rfc822;Old@test.example'
    mail wait "$dir/pillarbox/mail/u6" 'Reporting-MTA: dns; bench.example' 'Original-Envelope-Id: out+1' \
        'Original-Recipient: rfc822;Old@test.example' 'Action: delivered'
    mail send "$postfix_port" "$dir/in" --count 1 --threads 1 --from u6@test.example --to u1@relay.example \
        --mail RET=HDRS ENVID=in+2B1 --rcpt NOTIFY=SUCCESS 'ORCPT=rfc822;Old@relay.example'
    mail wait "$dir/postfix/spool/u6" 'Reporting-MTA: dns; pillarbox.example' 'Original-Envelope-Id: in+1' \
        'Original-Recipient: rfc822; Old@relay.example' 'Action: delivered'
}

postfix_by_lmtp() {
    with_postfix
    local port
    port=$(free_port)
    stop_pillarbox
    printf '[[listen]]\naddress = "127.0.0.1:%s"\nprotocol = "lmtp"\n' "$port" >> "$dir/pillarbox.conf"
    start_pillarbox
    echo 'lmtp unix - - n - - lmtp' >> "$dir/postfix/etc/master.cf"
    printf 'transport_maps = inline:{relay.example=lmtp:inet:127.0.0.1:%s}\n' "$port" >> "$dir/postfix/etc/main.cf"
    postfix -c "$dir/postfix/etc" reload > /dev/null 2>&1
    # shellcheck disable=SC2046
    mail send "$postfix_port" "$dir/in" --count 200 --to $(ours)
    mail check "$dir/in" --mbox "$our_boxes" --header '\n\s+by pillarbox\.example .* with LMTPS? '
}

shared_mailbox() {
    # Both append to the same file, each by its own locks.
    with_postfix
    install -o vmail -g vmail -m 600 /dev/null "$dir/pillarbox/mail/u4"
    mount --bind "$dir/pillarbox/mail" "$dir/postfix/spool"
    mail send "$postfix_port" "$dir/shared1" --count 300 --threads 8 --to u4@test.example &
    mail send "$smtp_port" "$dir/shared2" --count 300 --threads 8 --to u4@relay.example
    wait $!
    mail check "$dir/shared1" --mbox "$our_boxes"
    mail check "$dir/shared2" --mbox "$our_boxes"
    mail check "$dir/shared2" --pop3 "$pop3_port" "$password"
}

dovecot_reads() {
    start_pillarbox
    start_dovecot
    mount --bind "$dir/pillarbox/mail" "$dir/dovecot/spool"
    mail send "$smtp_port" "$dir/first" --count 50 --threads 5 --to u5@relay.example
    mail check "$dir/first" --pop3 "$dovecot_port" secret --quoted
    # Dovecot has written its fields into the file; ours are still right.
    mail send "$smtp_port" "$dir/second" --count 50 --threads 5 --to u5@relay.example
    mail check "$dir/first" --pop3 "$pop3_port" "$password"
    mail check "$dir/second" --pop3 "$pop3_port" "$password"
    mail check "$dir/second" --pop3 "$dovecot_port" secret --quoted
}

# Mail programs work on a mailbox of ours: programs.py tells what they do.
program() { # what it runs
    local each
    for each in "$@"; do
        command -v "$each" > /dev/null || { echo "  no $each here (tests/deps.sh --peers)"; exit 77; }
    done
    start_pillarbox
    "$peers/programs.py" "$scenario" "$dir/pillarbox/mail/u1" "$smtp_port" "$pop3_port" "$password" "$mail_owner"
}
deliver() { program procmail formail; }
four_writers() { program procmail formail mutt bsd-mailx s-nail; }
mailx_open() { program bsd-mailx; }
snail_open() { program s-nail; }
alpine_open() { program alpine; }
alpine_writes() { program procmail formail alpine; }
mutt_declines() { program mutt; }
emptied() { program sh; }

# IMAP clients work on folders of ours: clients.py tells what they do.
client() { # what it runs
    command -v "$1" > /dev/null || { echo "  no $1 here (tests/deps.sh --peers)"; exit 77; }
    start_pillarbox
    "$peers/clients.py" "${scenario#imap_}" "$dir/home" "$imap_port" u1 "$password"
}
imap_mbsync() { client mbsync; }
imap_offlineimap() { client offlineimap; }
imap_fetchmail() { client fetchmail; }
imap_imapfilter() { client imapfilter; }
imap_mutt() { client mutt; }
imap_alpine() { client alpine; }
imap_curl() { client curl; }
imap_library() { client python3; }

# Pillarbox and Dovecot have the same mailbox, and are asked the same: differ.py tells what.
differ() {
    write_pillarbox_config
    # Much is asked that is to be refused.
    sed -i 's/^sessions = .*/&\nerrors = 1000/' "$dir/pillarbox.conf"
    export TZ=UTC
    "$peers/differ.py" write "$dir/box"
    mkdir -p "$dir/dovecot/spool"
    for place in pillarbox/mail dovecot/spool; do
        install -o vmail -g vmail -m 600 "$dir/box" "$dir/$place/u1"
    done
    start_pillarbox
    # A folder of its may hold mail and folders, as ours may.
    dovecot_extra="mail_location = mbox:$dir/dovecot/mail/%u:INBOX=$dir/dovecot/spool/%u:INDEX=$dir/dovecot/index/%u:DIRNAME=mail"
    start_dovecot
    "$peers/differ.py" compare "$imap_port" "$password" "$dovecot_imap_port" secret
}

# Many sessions on few mailboxes, then the files: sessions.py tells what.
sessions() {
    start_pillarbox
    "$peers/sessions.py" run "$imap_port" u1 "$password" "${PILLARBOX_SESSION_SECONDS:-60}" ${PILLARBOX_SEED:+--seed "$PILLARBOX_SEED"} --left "$dir/left"
    stop_pillarbox
    local folders=$dir/pillarbox/spool/folders/u1
    "$peers/sessions.py" files "$dir/left" INBOX="$dir/pillarbox/mail/u1" Archive="$folders/Archive.mbox" Work="$folders/Work.mbox" \
        Lists/One="$folders/Lists/One.mbox" Trash="$folders/Trash.mbox"
    # Without what is left of the removed.
    start_pillarbox
    "$bin/pillarboxctl" -f "$dir/pillarbox.conf" mailbox compact u1
    stop_pillarbox
    start_dovecot
    install -d -o vmail -g vmail "$dir/dovecot/mail/u1"
    install -o vmail -g vmail -m 600 "$dir/pillarbox/mail/u1" "$dir/dovecot/spool/u1"
    install -o vmail -g vmail -m 600 "$folders"/{Archive,Work,Trash,Lists/One}.mbox "$dir/dovecot/mail/u1"
    "$peers/sessions.py" server "$dir/left" "$dovecot_imap_port" u1 secret INBOX=INBOX Archive=Archive.mbox Work=Work.mbox Lists/One=One.mbox Trash=Trash.mbox
}

load() {
    start_pillarbox
    # shellcheck disable=SC2046
    mail send "$smtp_port" "$dir/load" --count 10000 --threads 20 --to $(ours)
    mail check "$dir/load" --mbox "$our_boxes"
}

"$scenario"
# What a scenario does not look for: a thread that panicked.
if grep 'event=bug' "$dir/pillarbox.log"; then exit 1; fi
