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
    umount -l "$dir/postfix/spool" "$dir/dovecot/spool" "$dir/over" 2>/dev/null
    rm -rf "$dir"
    exit $status
}

tell() {
    echo "--- left in the queues"
    "$bin/pillarboxctl" -f "$dir/pillarbox.conf" queue list
    [ -z "$postfix_port" ] || timeout 10 postqueue -c "$dir/postfix/etc" -p
    echo "--- mailboxes"
    ls -l --full-time "$dir"/{pillarbox/mail,postfix/spool,dovecot/spool,exim/spool,opensmtpd/spool} 2>/dev/null
    for log in "$dir"/{pillarbox.log,postfix/maillog,dovecot/dovecot.log,exim/log/mainlog,exim/log/paniclog,opensmtpd.log,haproxy.log,dnsmasq.log}; do
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

certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/key.pem" -out "$dir/cert.pem" -days 2 -subj /CN=bench.example 2>/dev/null
}

needs() { # packages' programs
    local each
    for each in "$@"; do
        command -v "$each" > /dev/null || { echo "  no $each here (tests/deps.sh --peers)"; exit 77; }
    done
}

with_postfix() {
    certificate
    # There before it starts: what it has read of a table it does not read again.
    for_m "@test.example %s" > "$dir/more_mailboxes"
    echo 'käse@test.example käse' >> "$dir/more_mailboxes"
    postfix_extra="virtual_mailbox_maps = texthash:$dir/postfix/etc/mailboxes texthash:$dir/more_mailboxes
smtp_tls_security_level = may
smtpd_tls_security_level = may
smtpd_tls_cert_file = $dir/cert.pem
smtpd_tls_key_file = $dir/key.pem
smtpd_tls_received_header = yes
minimal_backoff_time = 2s
queue_run_delay = 2s
message_size_limit = 60000000"
    start_postfix
    routed_port=$postfix_port their_boxes="$dir/postfix/spool/{user}"
    start_pillarbox
}

with_exim() {
    needs exim4
    certificate
    # It reads them as itself.
    chgrp Debian-exim "$dir/key.pem"
    chmod 640 "$dir/key.pem"
    routed_port=$(free_port) their_boxes="$dir/exim/spool/{user}"
    "$here/peers/exim_setup.sh" "$dir/exim" /usr/sbin/exim4 "$routed_port" "$sink_port" "$(id -u vmail)" "$(id -g vmail)"
    for_m ": %s" >> "$dir/exim/users"
    echo 'käse: käse' >> "$dir/exim/users"
    sed -i -e "1i tls_advertise_hosts = *\ntls_certificate = $dir/cert.pem\ntls_privatekey = $dir/key.pem\ndsn_advertise_hosts = *" \
        -e 's/F,2h,1m/F,2h,2s/' -e "s,^  domains = test.example\$,&\n  local_parts = lsearch;$dir/exim/users," "$dir/exim/exim.conf"
    # It keeps its rights only with a file that is named there.
    echo "$dir/exim/exim.conf" > "$dir/trusted_configs"
    mount --bind "$dir/trusted_configs" /etc/exim4/trusted_configs
    # As the child of the first process of this namespace it would not go to the background by itself.
    "$dir/exim/exim4" -C "$dir/exim/exim.conf" -bdf -q2s -oP "$dir/exim/exim.pid" &
    wait_for_port "$routed_port"
    start_pillarbox
}

with_opensmtpd() {
    needs smtpd smtpctl
    # Its paths are compiled in.
    mount -t tmpfs tmpfs /run
    mkdir "$dir/over"
    mount -t tmpfs tmpfs "$dir/over"
    mkdir "$dir/over/new" "$dir/over/work"
    mount -t overlay overlay -o "lowerdir=/var,upperdir=$dir/over/new,workdir=$dir/over/work" /var
    mkdir -p /var/lib/opensmtpd/empty
    install -d -m 711 /var/spool/smtpd
    routed_port=$(free_port) their_boxes="$dir/opensmtpd/spool/{user}"
    "$here/peers/opensmtpd_setup.sh" "$dir/opensmtpd" "$routed_port" "$sink_port" "$(id -u vmail)" "$(id -g vmail)"
    for_m " $(id -u vmail):$(id -g vmail):$dir/opensmtpd/spool" >> "$dir/opensmtpd/users"
    for_m "@test.example %s" >> "$dir/opensmtpd/virtual"
    # Debian's mail.mboxfile locks nothing: two at a time write into each other's messages.
    install -d -o vmail "$dir/opensmtpd/locks"
    sed -i "s,mda \",&flock $dir/opensmtpd/locks/%{user.username} ," "$dir/opensmtpd/smtpd.conf"
    # It encrypts what it sends. With a certificate of its own Debian's fails in every handshake ("EVP lib"), so it gets none.
    their_tls='' their_header=''
    # Nor does it know what the sender calls the message, or addresses in UTF-8.
    knows_envid='' knows_utf8=''
    smtpd -d -f "$dir/opensmtpd/smtpd.conf" > "$dir/opensmtpd.log" 2>&1 &
    wait_for_port "$routed_port"
    start_pillarbox
}

# A line for each of a hundred more users: the name, and this behind it.
for_m() { # format
    local n
    for n in $(seq 100); do
        # shellcheck disable=SC2059
        printf "m$n${1//%s/m$n}\n"
    done
}

ours() { for n in $(seq 20); do echo "u$n@relay.example"; done; }
theirs() { for n in $(seq 20); do echo "u$n@test.example"; done; }
hundred() { for n in $(seq 100); do echo "m$n@$1"; done; }
our_boxes="$dir/pillarbox/mail/{user}"
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

# Everyday mail, one big message, one for a hundred, over TLS, the reports that were asked for, and mail in UTF-8, both ways.
knows_envid=yes their_tls=--tls their_header='(?i)^Received: from [^\n]*pillarbox\.example[^\n]*\n\s[^\n]*(with e?smtps|using TLSv1)'
both_ways() {
    # shellcheck disable=SC2046
    mail send "$smtp_port" "$dir/out" --count 60 --threads 4 --tls --to $(theirs)
    mail send "$smtp_port" "$dir/big-out" --count 1 --threads 1 --to u1@test.example
    # shellcheck disable=SC2046
    mail send "$smtp_port" "$dir/many-out" --count 1 --threads 1 --together --to $(hundred test.example)
    # shellcheck disable=SC2046
    mail send "$routed_port" "$dir/in" --count 60 --threads 4 $their_tls --to $(ours)
    mail send "$routed_port" "$dir/big-in" --count 1 --threads 1 --to u1@relay.example
    # shellcheck disable=SC2046
    mail send "$routed_port" "$dir/many-in" --count 1 --threads 1 --together --to $(hundred relay.example)
    mail check "$dir/out" --mbox "$their_boxes" ${their_header:+--header "$their_header"}
    mail check "$dir/big-out" --mbox "$their_boxes"
    mail check "$dir/many-out" --mbox "$their_boxes"
    mail check "$dir/in" --mbox "$our_boxes" --header '^Received: from [^ ]+ .*\n\s+by pillarbox\.example .* with ESMTPS '
    mail check "$dir/big-in" --mbox "$our_boxes"
    mail check "$dir/many-in" --mbox "$our_boxes"
    mail send "$smtp_port" "$dir/told-out" --count 1 --threads 1 --from u6@relay.example --to u2@test.example --mail RET=HDRS ENVID=out1 --rcpt NOTIFY=SUCCESS
    mail send "$routed_port" "$dir/told-in" --count 1 --threads 1 --from u6@test.example --to u2@relay.example --mail RET=HDRS ENVID=in1 --rcpt NOTIFY=SUCCESS
    mail wait "$dir/pillarbox/mail/u6" 'u2@test.example' 'Action: delivered' ${knows_envid:+out1}
    mail wait "${their_boxes/\{user\}/u6}" 'Reporting-MTA: dns; pillarbox.example' 'Action: delivered' ${knows_envid:+in1}
    mail send "$smtp_port" "$dir/no-out" --count 1 --threads 1 --from u7@relay.example --to nobody@test.example
    mail send "$routed_port" "$dir/no-in" --count 1 --threads 1 --from u7@test.example --to nobody@relay.example
    mail wait "$dir/pillarbox/mail/u7" 'nobody@test.example' 'Action: failed'
    mail wait "${their_boxes/\{user\}/u7}" 'nobody@relay.example' '550 5.1.1'
    if [ -n "$knows_utf8" ]; then utf8_both_ways; else utf8_comes_back; fi
}

# Addresses and headers in UTF-8 (SMTPUTF8, RFC 6531), and the reports of such mail.
knows_utf8=yes
utf8() { mail send "$@" --threads 1 --subject 'Grüße von Jörg' --mail SMTPUTF8; }
utf8_both_ways() {
    local their_box="${their_boxes/\{user\}/käse}"
    utf8 "$smtp_port" "$dir/utf8-out" --count 5 --tls --from jörg@bücher.example --to käse@test.example
    utf8 "$routed_port" "$dir/utf8-in" --count 5 --tls --from jörg@bücher.example --to u8+käse@relay.example
    mail check "$dir/utf8-out" --mbox "$their_boxes" --header '(?i)^Received: from [^\n]*pillarbox\.example[^\n]*\n(\s[^\n]*\n)*\s[^\n]* with utf8e?smtps'
    mail wait "$their_box" 'From jörg@bücher.example '
    mail check "$dir/utf8-in" --mbox "$our_boxes" \
        --header '^Return-Path: <jörg@bücher\.example>\nDelivered-To: u8\+käse@relay\.example\nReceived: .*\n\s+by pillarbox\.example .* with UTF8SMTPS '
    # To a sender at the other, whose own address is in UTF-8; and from there.
    utf8 "$routed_port" "$dir/utf8-told" --count 1 --from käse@test.example --to u8+öl@relay.example --rcpt NOTIFY=SUCCESS
    mail wait "$their_box" 'Reporting-MTA: dns; pillarbox.example' 'Action: delivered'
    utf8 "$smtp_port" "$dir/utf8-no-out" --count 1 --from u9+ö@relay.example --to niemand-ö@test.example
    utf8 "$routed_port" "$dir/utf8-no-in" --count 1 --from käse@test.example --to niemand-ö@relay.example
    mail wait "$dir/pillarbox/mail/u9" 'niemand-ö@test.example' 'Action: failed' 'Subject: Grüße von Jörg'
    mail wait "$their_box" 'niemand-ö@relay.example' '550 5.1.1'
}
utf8_comes_back() {
    utf8 "$smtp_port" "$dir/utf8-address" --count 1 --from u8@relay.example --to käse@test.example
    utf8 "$smtp_port" "$dir/utf8-header" --count 1 --from u9@relay.example --to u9@test.example
    mail wait "$dir/pillarbox/mail/u8" 'Final-Recipient: utf-8; käse@test.example' 'Status: 5.6.7' 'it does not offer SMTPUTF8'
    mail wait "$dir/pillarbox/mail/u9" 'u9@test.example' 'Status: 5.6.9' 'it does not offer SMTPUTF8' 'Subject: Grüße von Jörg'
}
postfix_both_ways() { with_postfix; both_ways; }
exim_both_ways() { with_exim; both_ways; }
opensmtpd_both_ways() { with_opensmtpd; both_ways; }

# Domains beyond ASCII, of which DNS knows only the A-labels (RFC 5891): each host finds the other by its MX.
idn_both_ways() {
    needs dnsmasq
    # Where nobody else listens on the port that name servers have.
    local at=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
    dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --listen-address="$at" --bind-interfaces --local=/example/ \
        --mx-host=xn--bcher-kva.example,mx.bench.example,10 --host-record=mx.bench.example,127.0.0.1 \
        --mx-host=xn--grn-ioa.example,mx.pillarbox.example,10 --host-record=mx.pillarbox.example,127.0.0.1 > "$dir/dnsmasq.log" 2>&1 &
    printf 'nameserver %s\n' "$at" > "$dir/resolv.conf"
    mount --bind "$dir/resolv.conf" "$(readlink -f /etc/resolv.conf)"
    with_postfix
    stop_pillarbox
    # A second one that knows no SMTPUTF8.
    local old
    old=$(free_port)
    sed -i -e 's/^domains .*/domains = ["relay.example", "grün.example"]/' -e "s/^\[queue\]/&\nsmtp_port = $postfix_port/" "$dir/pillarbox.conf"
    printf '[dns]\nservers = ["%s"]\n[[route]]\ndomain = "läden.example"\nhost = "127.0.0.1:%s"\n' "$at" "$old" >> "$dir/pillarbox.conf"
    start_pillarbox
    echo "127.0.0.1:$old inet n - n - - smtpd -o smtpd_discard_ehlo_keywords=smtputf8" >> "$dir/postfix/etc/master.cf"
    # In its place: about what overrides an earlier line it warns, and who logs nothing while it reloads waits for that for ever.
    postconf -c "$dir/postfix/etc" -e smtp_dns_support_level=enabled smtp_host_lookup=dns \
        "transport_maps=inline:{{grün.example=smtp:grün.example:$smtp_port}, {xn--grn-ioa.example=smtp:xn--grn-ioa.example:$smtp_port}}" \
        'virtual_mailbox_domains=test.example bücher.example xn--bcher-kva.example xn--lden-loa.example'
    printf '%s\n' 'käse@bücher.example käse' 'u3@xn--bcher-kva.example u3' 'u4@xn--lden-loa.example u4' >> "$dir/more_mailboxes"
    postfix -c "$dir/postfix/etc" reload > /dev/null 2>&1
    wait_for_port "$old"
    utf8 "$smtp_port" "$dir/utf8-out" --count 3 --from jörg@grün.example --to käse@bücher.example
    mail send "$smtp_port" "$dir/ascii-out" --count 3 --threads 1 --to u3@xn--bcher-kva.example
    utf8 "$postfix_port" "$dir/utf8-in" --count 3 --from jörg@bücher.example --to u8+käse@grün.example
    mail send "$postfix_port" "$dir/ascii-in" --count 3 --threads 1 --to u3@xn--grn-ioa.example
    mail check "$dir/utf8-out" --mbox "$their_boxes"
    mail check "$dir/ascii-out" --mbox "$their_boxes"
    mail check "$dir/utf8-in" --mbox "$our_boxes" --header '^Delivered-To: u8\+käse@(grün|xn--grn-ioa)\.example\n'
    mail check "$dir/ascii-in" --mbox "$our_boxes" --header '^Delivered-To: u3@xn--grn-ioa\.example\n'
    # A host that knows no SMTPUTF8 gets the A-label; a local part has no such form.
    mail send "$smtp_port" "$dir/label-out" --count 3 --threads 1 --from u9@relay.example --to u4@läden.example --shown u4@xn--lden-loa.example --mail SMTPUTF8
    utf8 "$smtp_port" "$dir/no-out" --count 1 --from u9@relay.example --to käse@läden.example
    mail check "$dir/label-out" --mbox "$their_boxes" --header '^X-Original-To: u4@xn--lden-loa\.example$'
    mail wait "$dir/pillarbox/mail/u9" 'Final-Recipient: utf-8; käse@läden.example' 'Status: 5.6.7' 'it does not offer SMTPUTF8'
}

# SPF, DKIM, DMARC and ARC beside Python's implementations and opendkim, with a name server that does not know all: trust.py tells.
trust_interop() {
    needs dnsmasq
    /usr/bin/python3 -c 'import spf, dkim, authheaders, authres, nacl, cryptography' 2> /dev/null ||
        { echo "  no python3-spf, -dkim, -authheaders, -authres here (tests/deps.sh --peers)"; exit 77; }
    local at=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1)) proxied submission count=${PILLARBOX_TRUST_MESSAGES:-2000}
    "$peers/trust.py" zone "$dir/zone"
    chown -R vmail: "$dir/zone"
    dnsmasq --no-daemon --conf-file="$dir/zone/dnsmasq.conf" --listen-address="$at" > "$dir/dnsmasq.log" 2>&1 &
    printf 'nameserver %s\n' "$at" > "$dir/resolv.conf"
    mount --bind "$dir/resolv.conf" "$(readlink -f /etc/resolv.conf)"
    proxied=$(free_port) submission=$(free_port) routed_port=$(free_port)
    write_pillarbox_config
    sed -i "1i aliases = \"$dir/aliases\"\nwebmail_url = \"https://mail.relay.example\"" "$dir/pillarbox.conf"
    echo 'onward: u1@test.example' > "$dir/aliases"
    {
        printf '[dns]\nservers = ["%s"]\n' "$at"
        printf '[[listen]]\naddress = "127.0.0.1:%s"\nprotocol = "smtp"\ntls = "none"\nproxy = ["127.0.0.0/8"]\n' "$proxied"
        printf '[[listen]]\naddress = "127.0.0.1:%s"\nprotocol = "submission"\ntls = "none"\n' "$submission"
        printf '[[dkim]]\ndomain = "relay.example"\nselector = "%s"\nkey = "%s"\n' rsa "$dir/zone/rsa.pem" ed "$dir/zone/ed.pem"
    } >> "$dir/pillarbox.conf"
    start_pillarbox
    "$peers/trust.py" received "$dir/zone" "$proxied" "$dir/pillarbox/mail/u1" "$count"
    "$peers/trust.py" sent "$submission" u1 "$password" "$dir/pillarbox/mail/u2" $((count / 10))
    "$peers/trust.py" onward "$dir/zone" "$proxied" "$routed_port" $((count / 10))
    "$bin/pillarboxctl" -f "$dir/pillarbox.conf" list create team u1@relay.example > /dev/null
    "$bin/pillarboxctl" -f "$dir/pillarbox.conf" list add team u1@relay.example u2@test.example u3@test.example > /dev/null
    "$peers/trust.py" copies "$submission" u1 "$password" team@relay.example "$routed_port" $((count / 50))
}

# Every known way to write the end of a message so that some see it and some do not: smuggle.py tells which.
smuggled() {
    local sendmail="$bin/pillarboxctl -f $dir/pillarbox.conf sendmail" domain
    for domain in relay.example test.example; do
        "$peers/smuggle.py" send "$smtp_port" "$domain" "$dir/sent-$domain"
        if grep '"apart": true' "$dir/sent-$domain"; then return 1; fi
        "$peers/smuggle.py" hand "$sendmail" "$domain" "$dir/handed-$domain"
    done
    "$peers/smuggle.py" send "$routed_port" relay.example "$dir/relayed"
    for record in "$dir"/sent-* "$dir"/handed-* "$dir/relayed"; do
        "$peers/smuggle.py" check "$record" "$dir/pillarbox/mail/*" "${their_boxes/\{user\}/*}"
    done
}
smuggled_postfix() { with_postfix; smuggled; }
smuggled_exim() { with_exim; smuggled; }
smuggled_opensmtpd() { with_opensmtpd; smuggled; }

# Another server's store takes our mail by LMTP, over TCP and over a Unix socket, and answers for each recipient.
dovecot_by_lmtp() {
    local port
    [ -x /usr/lib/dovecot/lmtp ] || { echo "  no Dovecot LMTP here (tests/deps.sh --peers)"; exit 77; }
    port=$(free_port)
    dovecot_extra="protocols = imap pop3 lmtp
auth_username_format = %Ln
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = $port
  }
  unix_listener $dir/dovecot/lmtp {
    mode = 0666
  }
}"
    start_dovecot
    write_pillarbox_config
    printf '[[route]]\ndomain = "tcp.example"\nlmtp = "127.0.0.1:%s"\n[[route]]\ndomain = "unix.example"\nlmtp = "unix:%s"\n' \
        "$port" "$dir/dovecot/lmtp" >> "$dir/pillarbox.conf"
    start_pillarbox
    local domain
    for domain in tcp.example unix.example; do
        # shellcheck disable=SC2046
        mail send "$smtp_port" "$dir/out-$domain" --count 100 --to $(for n in $(seq 20); do echo "u$n@$domain"; done)
        mail send "$smtp_port" "$dir/big-$domain" --count 1 --threads 1 --to "u1@$domain"
        # One whose mailbox can't be written waits alone.
        rm -f "$dir/dovecot/spool/m7"
        mkdir "$dir/dovecot/spool/m7"
        # shellcheck disable=SC2046
        mail send "$smtp_port" "$dir/many-$domain" --count 1 --threads 1 --together --to $(hundred "$domain")
        mail check "$dir/out-$domain" --pop3 "$dovecot_port" secret
        mail check "$dir/big-$domain" --pop3 "$dovecot_port" secret
        grep -v "\"m7@" "$dir/many-$domain" > "$dir/most-$domain"
        mail check "$dir/most-$domain" --pop3 "$dovecot_port" secret
        rmdir "$dir/dovecot/spool/m7"
        mail check "$dir/many-$domain" --pop3 "$dovecot_port" secret
    done
    mail send "$smtp_port" "$dir/told" --count 1 --threads 1 --from u6@relay.example --to u2@unix.example --rcpt NOTIFY=SUCCESS
    mail wait "$dir/pillarbox/mail/u6" 'Final-Recipient: rfc822; u2@unix.example' 'Action: delivered'
}

# Mail goes through programs: procmail delivers, a filter sends on.
programs_take() {
    needs procmail formail
    write_pillarbox_config
    install -d -o vmail -g vmail "$dir/taken"
    printf 'MAILDIR=%s\nLOCKSLEEP=1\n:0:\n%s/u1\n' "$dir/taken" "$dir/taken" > "$dir/procmailrc"
    printf '#!/bin/sh\nformail -bf -I "X-Filtered: yes" | "%s" -f "%s" sendmail -i -f "${SENDER:-<>}" -- "$LOCAL@relay.example"\n' \
        "$bin/pillarboxctl" "$dir/pillarbox.conf" > "$dir/filter"
    chmod 755 "$dir/filter"
    printf '[[route]]\ndomain = "procmail.example"\nprogram = ["/usr/bin/procmail", "-f-", "-m", "%s"]\n[[route]]\ndomain = "filter.example"\nprogram = ["%s"]\n' \
        "$dir/procmailrc" "$dir/filter" >> "$dir/pillarbox.conf"
    start_pillarbox
    mail send "$smtp_port" "$dir/out" --count 60 --to u1@procmail.example
    mail send "$smtp_port" "$dir/in" --count 40 --to u1@filter.example u2@filter.example
    mail check "$dir/out" --mbox "$dir/taken/{user}"
    mail check "$dir/in" --mbox "$our_boxes" --header '^X-Filtered: yes'
}

# Programs that people send mail with: by submission, or to sendmail.
submission_clients() {
    needs msmtp mutt s-nail swaks
    write_pillarbox_config
    local port message
    port=$(free_port)
    printf '[[listen]]\naddress = "127.0.0.1:%s"\nprotocol = "submission"\n' "$port" >> "$dir/pillarbox.conf"
    start_pillarbox
    export HOME=$dir/home LC_ALL=C.UTF-8
    mkdir "$HOME"
    message=$(printf 'Von mir.\n.\nFrom Käse\n')
    printf 'From: u1@relay.example\nTo: u2@relay.example\nSubject: by msmtp\n\n%s\n' "$message" |
        msmtp --host=127.0.0.1 --port="$port" --tls=on --tls-certcheck=off --auth=plain --user=u1 --passwordeval="echo $password" -f u1@relay.example u2@relay.example
    # It logs in by a library whose mechanisms are packages of their own; so it hands in to sendmail.
    printf '%s\n' "$message" | mutt -n -F /dev/null -e "set from=u1@relay.example copy=no use_envelope_from=yes" \
        -e "set sendmail='$bin/pillarboxctl -f $dir/pillarbox.conf sendmail -oem -oi'" -s 'by mutt' u2@relay.example
    printf '%s\n' "$message" | s-nail -:/ -S v15-compat -S from=u1@relay.example -S smtp-use-starttls -S tls-verify=ignore -S smtp-auth=login \
        -S "mta=smtp://u1:$password@127.0.0.1:$port" -s 'by s-nail' u2@relay.example
    # Without the Perl module for TLS, as a process of this host may.
    swaks --server "127.0.0.1:$port" --auth PLAIN --auth-user u1 --auth-password "$password" --from u1@relay.example --to u2@relay.example \
        --header 'Subject: by swaks' --body "$message" > "$dir/swaks.log" 2>&1
    mail wait "$dir/pillarbox/mail/u2" 'Subject: by msmtp' 'Subject: by mutt' 'Subject: by s-nail' 'Subject: by swaks' 'with ESMTPSA' '>From K'
}

# People of this host, with programs of their own at both ends: mutt hands in to sendmail, a .forward gives the mail to procmail,
# which sorts it into folders, where mutt reads it. They make up a mailing list: one joins by answering, the other decides by it.
people_at_home() {
    needs procmail mutt script setpriv
    local name uid home=$dir/home config=$dir/pillarbox.conf
    for name in passwd group shadow; do cp -p "/etc/$name" "$dir/$name"; done
    for name in pillarbox:21000 anna:21001 bert:21002; do
        uid=${name#*:} name=${name%:*}
        echo "$name:x:$uid:$uid::$home/$name:/bin/sh" >> "$dir/passwd"
        echo "$name:x:$uid:" >> "$dir/group"
        echo "$name:!:19000:0:99999:7:::" >> "$dir/shadow"
        install -d -m 755 "$home"
        install -d -m 700 -o "$uid" -g "$uid" "$home/$name"
    done
    for name in passwd group shadow; do mount --bind "$dir/$name" "/etc/$name"; done
    mkdir -p "$dir/pillarbox"
    install -d -m 2775 -g mail "$dir/pillarbox/mail"
    cat > "$config" <<CONF
hostname = "pillarbox.example"
domains = ["relay.example"]
users = ["system"]
user = "pillarbox"
aliases = ""
spool = "$dir/pillarbox/spool"
mail = "$dir/pillarbox/mail"
pid_file = "$dir/pillarbox/pid"
control = "$dir/pillarbox/ctl.sock"
[[listen]]
address = "127.0.0.1:$smtp_port"
protocol = "smtp"
CONF
    echo '"|exec /usr/bin/procmail || exit 75"' > "$home/bert/.forward"
    printf 'MAILDIR=%s/bert\n:0:\n* ^X-Loop: team@relay\nteam\n:0:\nsorted\n' "$home" > "$home/bert/.procmailrc"
    printf '#!/bin/sh\nprintf "%%s\\n" "$WORDS" > "$1"\n' > "$home/editor"
    chmod 755 "$home/editor"
    cat > "$home/muttrc" <<RC
set sendmail="$bin/pillarboxctl -f $config sendmail -oem -oi" editor="$home/editor" copy=no fast_reply=yes include=no abort_unmodified=no
set recall=no quit=yes confirmappend=no wait_key=no sleep_time=0 reply_to=yes folder=~ hostname=relay.example
RC
    chown 21002:21002 "$home/bert"/.[fp]*
    mail_owner=''
    start_pillarbox
    as() { # user, what
        local user=$1
        shift
        HOME=$home/$user USER=$user LOGNAME=$user TERM=vt100 LC_ALL=C.UTF-8 setpriv --reuid "$user" --regid "$user" --init-groups "$@"
    }
    # Keys for mutt, in a mailbox that it only reads.
    keys() { # user, mailbox, keys
        as "$1" timeout 60 script -qec "mutt -n -F $home/muttrc -R -f $2 -e 'push \"$3\"'" /dev/null > "$dir/screen" < /dev/null || { cat "$dir/screen"; return 1; }
    }
    printf 'From here\n.\n' | as anna mutt -n -F "$home/muttrc" -s 'to be sorted' bert@relay.example
    mail wait "$home/bert/sorted" 'Subject: to be sorted' 'From: anna@' '>From here'
    keys bert "$home/bert/sorted" "<pipe-message>cat > $home/bert/read<enter><quit>"
    grep -qx "From here" "$home/bert/read" || grep -qx ">From here" "$home/bert/read"

    "$bin/pillarboxctl" -f "$config" list create team anna@relay.example
    echo posting = moderated >> "$dir/pillarbox/spool/lists/team/settings"
    sed -i '0,/^posting/{/^posting/d}' "$dir/pillarbox/spool/lists/team/settings"
    echo | as bert mutt -n -F "$home/muttrc" -s 'let me in' team-subscribe@relay.example
    mail wait "$home/bert/team" 'Subject: Confirm: subscribe bert@'
    WORDS=yes keys bert "$home/bert/team" '<reply>y<quit>'
    mail wait "$home/bert/team" 'Subject: Welcome to the list team'
    [ "$("$bin/pillarboxctl" -f "$config" list members team)" = bert@relay.example ]
    echo 'All of you.' | as bert mutt -n -F "$home/muttrc" -s 'to the team' team@relay.example
    mail wait "$dir/pillarbox/mail/anna" 'A post to team waits for you'
    WORDS=approve keys anna "$dir/pillarbox/mail/anna" '<last-entry><reply>y<quit>'
    mail wait "$home/bert/team" 'Subject: to the team' 'List-Id: <team.relay.example>'
    keys bert "$home/bert/team" "<last-entry><pipe-message>cat > $home/bert/read<enter><quit>"
    grep -q '^All of you' "$home/bert/read"
    "$bin/pillarboxctl" -f "$config" queue list | grep -q 'queue is empty'
}

# haproxy tells who is behind it, in both versions of its protocol.
behind_haproxy() {
    needs haproxy
    write_pillarbox_config
    local first second ours_first ours_second
    first=$(free_port) second=$(free_port) ours_first=$(free_port) ours_second=$(free_port)
    printf '[[listen]]\naddress = "127.0.0.1:%s"\nprotocol = "smtp"\nproxy = ["127.0.0.1"]\n' "$ours_first" >> "$dir/pillarbox.conf"
    printf '[[listen]]\naddress = "127.0.0.1:%s"\nprotocol = "imap"\ntls = "implicit"\nproxy = ["127.0.0.1"]\n' "$ours_second" >> "$dir/pillarbox.conf"
    start_pillarbox
    cat > "$dir/haproxy.cfg" <<CONF
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen smtp
  bind 127.0.0.1:$first
  server one 127.0.0.1:$ours_first send-proxy
listen imaps
  bind 127.0.0.1:$second
  server two 127.0.0.1:$ours_second send-proxy-v2
CONF
    haproxy -db -f "$dir/haproxy.cfg" > "$dir/haproxy.log" 2>&1 &
    wait_for_port "$first"
    python3 - "$first" "$second" "$password" <<'PY'
import imaplib, smtplib, socket, ssl, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), "client.example", 60, ("127.0.0.7", 0)) as talk:
    talk.starttls()
    talk.sendmail("sender@sender.example", ["u1@relay.example"], "Subject: by haproxy\r\n\r\nx\r\n")
class From(imaplib.IMAP4_SSL):
    def _create_socket(self, timeout):
        plain = socket.create_connection((self.host, self.port), 60, ("127.0.0.8", 0))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain)
box = From("127.0.0.1", int(sys.argv[2]))
box.login("u1", sys.argv[3])
assert box.select()[1] == [b"1"]
box.logout()
PY
    grep -q 'Received: from client.example (\[127.0.0.7\])' "$dir/pillarbox/mail/u1"
    grep -q 'imap connect peer=127.0.0.8 tls=TLSv1.3' "$dir/pillarbox.log"
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
