#!/bin/bash
# What happens on the host that run.sh made: see there.
set -Eeuo pipefail

trap 'echo "  line $LINENO failed: $BASH_COMMAND"' ERR
trap finish EXIT

finish() {
    local status=$?
    trap - ERR
    set +e
    if [ $status != 0 ]; then
        cat /check/apt.log
        echo "--- mailboxes"
        ls -la --full-time /var/mail
        echo "--- queue"
        pillarboxctl queue list
        echo "--- configuration"
        grep -v '^ *#' /etc/pillarbox/pillarbox.conf | grep .
        echo "--- log"
        tail -100 /var/log/mail.log
    fi
    exit $status
}

fails() { ! "$@"; }

# Waits until a command succeeds; cron wakes up once a minute.
wait_for() {
    local n
    for ((n = 0; n < 1800; n++)); do
        "$@" && return
        sleep 0.05
    done
    echo "  waited in vain: $*"
    return 1
}

as() { # user command...
    local user=$1
    shift
    (cd / && exec runuser -u "$user" -- env HOME="/home/$user" "$@")
}

# The mail of a user who logs in by IMAP, or the number of messages by POP3.
by_imap() { curl -sS -u "$1:$2" "imap://127.0.0.1/$3" "${@:4}"; }
by_pop3() { curl -sS "pop3://127.0.0.1/" -u "$1:$2" | wc -l; }

# Has bob a message with this in it?
bob_has() { grep -qs -- "$1" /var/mail/bob; }
comes() { wait_for bob_has "$1"; }

queue_is_empty() { [ "$(pillarboxctl queue list)" = 'The queue is empty.' ]; }

letter() { printf 'From: alice\nSubject: %s\n\nText of %s.\n' "$1" "$1"; }

postfix_at_work() {
    local user
    for user in alice bob carol; do
        useradd --create-home --shell /bin/bash "$user"
        echo "$user:secret of $user" | chpasswd
    done
    pgrep -x rsyslogd > /dev/null || rsyslogd
    printf 'root: alice\nsupport: bob\n' >> /etc/aliases
    newaliases
    service postfix start > /dev/null
    letter before | sendmail alice bob
    wait_for grep -qs 'Text of before' /var/mail/alice
    comes 'Text of before'
    cp -a /var/mail /check/mail
    cp -a /etc/aliases /check/aliases
}

# apt puts it in the place of Postfix, and asks nothing.
installed_over_postfix() {
    apt-get -qq -y install --no-install-recommends /check/pillarbox.deb < /dev/null > /check/apt.log 2>&1 || { cat /check/apt.log; return 1; }
    fails pgrep -x master > /dev/null
    fails test "$(dpkg-query -W -f '${db:Status-Status}' postfix)" = installed
    service pillarbox status > /dev/null
    diff -r /check/mail /var/mail
    cmp /check/aliases /etc/aliases
    pillarboxctl status --json | grep -q '"hostname": *"mail.example.test"'
    grep -qx 'domains  = \["example.test", "mail.example.test", "localhost"\]' /etc/pillarbox/pillarbox.conf
    # It is not root who listens to the network.
    pgrep -u pillarbox -x pillarbox > /dev/null
}

# Who and what mode, as in alice:mail:660.
owner() { stat -c %U:%G:%a "$1"; }

mailboxes_belong_to_users() {
    letter first | sendmail carol bob
    wait_for grep -qs 'Text of first' /var/mail/carol
    [ "$(owner /var/mail/carol)" = carol:mail:660 ]
    # What another mail system has made stays as it was made.
    comes 'Text of first'
    [ "$(owner /var/mail/bob)" = "$(owner /check/mail/bob)" ]
    echo x | as bob mailx | grep -q first
}

# Everything of this host that sends mail by itself.
programs_hand_mail_in() {
    letter cron | as alice sendmail -FCronDaemon -i -B8BITMIME -oem bob
    letter lib | as alice /usr/lib/sendmail -t -i bob
    printf 'To: bob\nSubject: header\n\nText of header.\n' | as alice sendmail -t -oi -odi
    echo 'Text of mailx.' | as alice mailx -s mailx bob
    echo 'Text of mutt.' | as alice mutt -s mutt bob
    as alice php -r 'exit(mail("bob", "php", "Text of php.") ? 0 : 1);'
    for each in cron lib header mailx mutt php; do
        comes "Text of $each\."
    done
    [ "$(grep -c '^From alice@' /var/mail/bob)" = 6 ]
}

# What cron runs says something: its owner gets that by mail.
cron_reports() {
    echo 'echo "Text of a job."' > /home/bob/job
    echo '* * * * * sh job; crontab -r' | crontab -u bob -
    service cron start > /dev/null
    comes 'Text of a job\.'
    grep -q '^Subject: Cron <bob@mail> sh job' /var/mail/bob
}

users_log_in() {
    local id
    [ "$(by_pop3 alice 'secret of alice')" = 1 ]
    by_imap bob 'secret of bob' 'INBOX;UID=1' | grep -q 'Text of before'
    fails by_imap bob wrong 'INBOX;UID=1' 2> /dev/null
    fails by_pop3 root '' > /dev/null 2>&1
    grep -q 'auth failed user=bob peer=127.0.0.1 service=imap' /var/log/mail.log
    # Who is locked out of the host is locked out here.
    useradd --create-home eve
    echo 'eve:secret of eve' | chpasswd
    by_pop3 eve 'secret of eve' > /dev/null
    usermod --lock eve
    fails by_pop3 eve 'secret of eve' > /dev/null 2>&1
    usermod --unlock --expiredate 2020-01-01 eve
    fails by_pop3 eve 'secret of eve' > /dev/null 2>&1
    # fail2ban sees in the log of this host what it should.
    fail2ban-regex -o ip /var/log/mail.log pillarbox | grep -qx 127.0.0.1
}

# As pillarbox-migrate(7) says: its own example, carried out.
maildir_comes_in() {
    mkdir -p /home/alice/Maildir/{,.Work.2026/}{cur,new,tmp}
    letter in-the-maildir > '/home/alice/Maildir/cur/1700000001.1.old:2,FS'
    letter new-there > /home/alice/Maildir/new/1700000002.2.old
    letter at-work > '/home/alice/Maildir/.Work.2026/cur/1700000003.3.old:2,RS'
    find /home/alice/Maildir -type f -exec touch -d '2023-11-14 22:13:20' {} +
    zcat /usr/share/man/man7/pillarbox-migrate.7.gz | sed -n '/^IMAPStore/,/^CopyArrival/p' > /home/alice/.mbsyncrc
    echo 'secret of alice' > /home/alice/.password
    chown -R alice: /home/alice
    for n in 1 2; do
        as alice mbsync -q all 2> /check/mbsync || { cat /check/mbsync; return 1; }
        [ "$(by_imap alice 'secret of alice' '' -X 'STATUS INBOX (MESSAGES UNSEEN)')" = $'* STATUS "INBOX" (MESSAGES 3 UNSEEN 2)\r' ]
    done
    by_imap alice 'secret of alice' 'Work/2026' -X 'FETCH 1 (FLAGS INTERNALDATE)' > /check/fetched
    grep -q 'Answered' /check/fetched && grep -q '14-Nov-2023 22:13:20' /check/fetched
    by_imap alice 'secret of alice' 'Work/2026;UID=1' | grep -q 'Text of at-work'
}

# A .forward as people have it.
procmail_sorts() {
    echo '"|exec /usr/bin/procmail || exit 75"' > /home/carol/.forward
    printf ':0:\n* ^Subject: sorted\nsorted\n' > /home/carol/.procmailrc
    chown carol: /home/carol/.forward /home/carol/.procmailrc
    letter sorted | as alice sendmail carol
    letter plain | as alice sendmail carol
    wait_for grep -qs 'Text of sorted' /home/carol/sorted
    wait_for grep -qs 'Text of plain' /var/mail/carol
    [ "$(stat -c %U /home/carol/sorted)" = carol ]
    fails grep -q 'Text of sorted' /var/mail/carol
    rm /home/carol/.forward
}

aliases_are_as_they_were() {
    letter by-alias | as alice sendmail support
    comes 'Text of by-alias'
    newaliases
    printf 'team: alice, bob\n' >> /etc/aliases
    cp -a /etc/aliases /check/aliases
    newaliases
    letter to-all | sendmail team
    comes 'Text of to-all'
    wait_for grep -q 'Text of to-all' /var/mail/alice
}

# With the daemon down mail is taken all the same.
without_the_daemon() {
    [ "$(owner /usr/sbin/pillarbox-drop)" = root:pillarbox-drop:2755 ]
    service pillarbox stop > /dev/null
    letter dropped | as alice sendmail bob
    fails bob_has 'Text of dropped'
    service pillarbox start > /dev/null
    comes 'Text of dropped'
}

# What could stand at the place of carol's mailbox, put there by who may write to /var/mail.
plant() {
    case $1 in
        symlink) ln -s /home/alice/victim "$2" ;;
        nowhere) ln -s /etc/made-up "$2" ;;
        shadow) ln -s /etc/shadow "$2" ;;
        hardlink) ln /home/alice/victim "$2" ;;
        own-hardlink) ln /home/carol/victim "$2" ;;
        foreign) install -o bob -g mail -m 666 /dev/null "$2" ;;
        directory) mkdir "$2" && chown carol: "$2" ;;
        fifo) mkfifo "$2" && chown carol: "$2" ;;
        dotlock) mv /check/carol "${2%.lock}" && echo 1 > "$2" ;;
    esac
}

waits_for_carol() { pillarboxctl queue list | grep -q "to carol@"; }

# Mail waits until the obstacle is gone, and nobody else's does; nothing else is touched.
mailbox_is_attacked() {
    local obstacle place
    echo 'of alice' > /home/alice/victim
    chown alice: /home/alice/victim
    install -o carol /dev/null /home/carol/victim
    sha256sum /home/*/victim /etc/shadow > /check/victims
    mv /var/mail/carol /check/carol
    for obstacle in symlink nowhere shadow hardlink own-hardlink foreign directory fifo dotlock; do
        place=/var/mail/carol
        [ $obstacle != dotlock ] || place=/var/mail/carol.lock
        plant $obstacle $place
        letter "against-$obstacle" | as alice sendmail carol bob
        comes "Text of against-$obstacle\."
        wait_for waits_for_carol
        wait_for grep -q "event=deferred .*to=<carol@" /var/log/mail.log
        rm -r $place
        true > /var/log/mail.log
    done
    # One that was left over by who is gone is none.
    echo 4000000 > /var/mail/carol.lock
    touch -d '10 minutes ago' /var/mail/carol.lock
    pillarboxctl queue flush > /dev/null
    wait_for queue_is_empty
    for obstacle in symlink nowhere shadow hardlink own-hardlink foreign directory fifo dotlock; do
        [ "$(grep -c "Text of against-$obstacle\." /var/mail/carol)" = 1 ]
    done
    sha256sum --quiet -c /check/victims
    [ ! -e /etc/made-up ]
    grep -q 'Text of first' /var/mail/carol
    [ "$(owner /var/mail/carol)" = carol:mail:660 ]
}

# Another host, at work at the same time: the next one by our queue, with one user.
elsewhere() {
    mkdir -p /check/elsewhere
    cat > /check/elsewhere/conf <<END
hostname = "elsewhere.test"
user     = ""
users    = ["users"]
spool    = "spool"
mail     = "mail"
[[listen]]
address  = "127.0.0.1:2525"
protocol = "smtp"
END
    [ -s /check/elsewhere/users ] || echo secret | pillarboxctl -f /check/elsewhere/conf user add dave
    pillarbox -f /check/elsewhere/conf
}

queue_outlives_a_reboot() {
    local n
    printf '\n[[route]]\ndomain = "elsewhere.test"\nhost   = "127.0.0.1:2525"\n' >> /etc/pillarbox/pillarbox.conf
    pillarboxctl reload
    for ((n = 0; n < 100; n++)); do
        letter "far-$n" | sendmail -f alice dave@elsewhere.test
    done
    pillarboxctl queue list --json | grep -o '"id": *"[^"]*"' | sort > /check/queue
    [ "$(wc -l < /check/queue)" = 100 ]
    service pillarbox stop > /dev/null
    fails pgrep -x pillarbox > /dev/null
    # After a boot there is nothing.
    rm -rf /run/pillarbox
    service pillarbox start > /dev/null
    pillarboxctl queue list --json | grep -o '"id": *"[^"]*"' | sort | cmp - /check/queue
    elsewhere
    pillarboxctl queue flush > /dev/null
    wait_for queue_is_empty
    for ((n = 0; n < 100; n++)); do
        [ "$(grep -cx "Subject: far-$n" /check/elsewhere/mail/dave)" = 1 ]
    done
}

# 100 users at a time, and the daemon with all that belongs to it stays below 32 MiB.
hundred_sessions() {
    python3 - <<'END'
import glob, imaplib

sessions = []
for n in range(100):
    session = imaplib.IMAP4("127.0.0.1")
    session.login("alice", "secret of alice")
    session.select()
    session.send(b"idle IDLE\r\n")
    assert session.readline().startswith(b"+")
    sessions.append(session)

def of(process):
    # Who answers a question for the monitor is soon gone again.
    try:
        with open(process + "/comm") as name, open(process + "/smaps_rollup") as lines:
            if name.read() == "pillarbox\n":
                return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0

ours = [kib for kib in map(of, glob.glob("/proc/[0-9]*")) if kib]
kib = sum(ours)
print(f"  100 sessions in IDLE: {len(ours)} processes, {kib / 1024:.1f} MiB")
assert kib < 32 * 1024
END
}

nothing_runs_of() { ! kill -0 "$@" 2> /dev/null; }

# Killed, all of it ends; systemd starts it again by itself.
comes_back_after_a_kill() {
    local before each
    before=$(pgrep -x pillarbox)
    kill -9 "$(cat /run/pillarbox/pid)"
    for each in $before; do
        wait_for nothing_runs_of "$each"
    done
    [ -d /run/systemd/system ] || service pillarbox start > /dev/null
    wait_for pillarboxctl status > /check/status 2>&1
    letter risen | as alice sendmail bob
    comes 'Text of risen'
}

# A newer package: the daemon is another one, and what waits still waits.
upgraded() {
    cp -a /etc/pillarbox /check/etc
    cp -a /var/mail/bob /check/bob
    local version
    version=$(dpkg-query -W -f '${Version}' pillarbox)
    kill "$(cat /check/elsewhere/spool/pid)"
    letter waits | sendmail -f alice dave@elsewhere.test
    dpkg -i /check/newer.deb > /check/apt.log 2>&1
    dpkg --compare-versions "$(dpkg-query -W -f '${Version}' pillarbox)" gt "$version"
    service pillarbox status > /dev/null
    diff -r /check/etc /etc/pillarbox
    cmp /check/bob /var/mail/bob
    [ "$(pillarboxctl queue list --json | grep -c dave@elsewhere.test)" = 1 ]
    letter after-upgrade | as alice sendmail bob
    comes 'Text of after-upgrade'
}

# What is removed is the program. What is purged is the configuration.
removed() {
    cp -a /var/mail /check/mail.last
    apt-get -qq -y remove pillarbox < /dev/null > /check/apt.log 2>&1
    fails pgrep -x pillarbox > /dev/null
    [ ! -e /usr/sbin/sendmail ] && [ -e /etc/pillarbox/pillarbox.conf ]
    # The init script is configuration, and stays.
    service pillarbox stop > /dev/null
    apt-get -qq -y purge pillarbox < /dev/null > /check/apt.log 2>&1
    grep -q 'mail is kept in /var/mail and in /var/spool/pillarbox' /check/apt.log
    [ ! -e /etc/pillarbox ] && [ ! -e /etc/init.d/pillarbox ] && [ ! -e /etc/fail2ban/filter.d/pillarbox.conf ]
    diff -r -x '.lock-*' /check/mail.last /var/mail
    cmp /check/aliases /etc/aliases
    [ -n "$(find /var/spool/pillarbox/journal -name '*.mbox')" ]
    [ -z "$(find /var/mail -name '.*' -type f)" ]
    getent passwd pillarbox > /dev/null
}

# And back again: what Pillarbox has left in the mailboxes is mail to others.
postfix_again() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends postfix bsd-mailx < /dev/null > /check/apt.log 2>&1
    cmp /check/aliases /etc/aliases
    service postfix status > /dev/null || service postfix start > /dev/null
    letter again | sendmail bob
    comes 'Text of again[.]'
    echo x | as bob mailx | grep -q "^\"/var/mail/bob\": $(grep -c '^Subject: ' /var/mail/bob) messages"
}

steps='postfix_at_work installed_over_postfix mailboxes_belong_to_users programs_hand_mail_in hundred_sessions users_log_in maildir_comes_in
    procmail_sorts aliases_are_as_they_were without_the_daemon mailbox_is_attacked
    comes_back_after_a_kill queue_outlives_a_reboot cron_reports upgraded removed postfix_again'
for step in $steps; do
    begun=$(date +%s%N)
    "$step"
    tenths=$((($(date +%s%N) - begun) / 100000000))
    printf '%s ... ok (%d.%d s)\n' "$step" $((tenths / 10)) $((tenths % 10))
done
