#!/bin/bash
# Real peers, load, and a long crash run: what `make check` has no time for.
#
#   tests/peers/run.sh [SCENARIO...]      (make check-peers: all of them)
#
# Each scenario has daemons, users and a directory of its own, and its processes end with it (scenarios.sh).
# Postfix, Dovecot and the mail programs come from tests/deps.sh --peers: unpacked, never installed. Without root or
# without them the scenarios that need them are skipped, and said to be.
set -uo pipefail
peers=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$peers/../.." && pwd)
all='postfix_to_pillarbox pillarbox_to_postfix encrypted_both_ways seven_bit_postfix postfix_away bounces_both_ways reports_both_ways
    postfix_by_lmtp shared_mailbox dovecot_reads
    postfix_both_ways exim_both_ways opensmtpd_both_ways idn_both_ways smuggled_postfix smuggled_exim smuggled_opensmtpd trust_interop
    dovecot_by_lmtp programs_take submission_clients people_at_home behind_haproxy
    deliver four_writers alpine_writes mailx_open snail_open alpine_open mutt_declines emptied differ
    imap_mbsync imap_offlineimap imap_fetchmail imap_imapfilter imap_mutt imap_alpine imap_curl imap_library sessions load browser crash'

run() {
    if [ "$1" = crash ]; then
        cd "$top" && PILLARBOX_CRASH_ROUNDS=${PILLARBOX_CRASH_ROUNDS:-200} ${CARGO:-cargo} test --locked --quiet --test integration -- crash::
    elif [ "$1" = browser ]; then
        command -v chromium >/dev/null && command -v chromedriver >/dev/null || { echo "no chromium here"; return 77; }
        python3 -B "$top/tests/webmail/run.py" "$top/target/release" lists correspondence settings
    else
        "$peers/in_root.sh" unshare --pid --fork --kill-child --mount-proc "$peers/scenarios.sh" "$1"
    fi
}

failed='' skipped=''
for scenario in ${*:-$all}; do
    echo "$scenario"
    begun=$(date +%s%N)
    (run "$scenario")
    case $? in
        0) word=ok ;;
        77) word=skipped skipped="$skipped $scenario" ;;
        *) word=FAILED failed="$failed $scenario" ;;
    esac
    tenths=$((($(date +%s%N) - begun) / 100000000))
    printf '%s ... %s (%d.%d s)\n' "$scenario" "$word" $((tenths / 10)) $((tenths % 10))
done
[ -z "$skipped" ] || echo "skipped:$skipped"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
