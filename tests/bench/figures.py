#!/usr/bin/env python3
"""What run.sh measures itself, and the table at its end.

    figures.py calls STRACE_OUTPUT --case NAME --messages N   system calls per message
    figures.py memory --port P --pid N [--log-in PASSWORD]    idle memory, and per POP3 session
    figures.py start --program P --config F --fresh DIR       start to `pillarbox ready`
    figures.py table FILE                                     medians and ratios of all that was measured

All append JSON lines to --out.
"""
import argparse
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import time

from benchlib import emit, memory_of

MAIL_CASES = ["reuse", "spread", "hot", "one", "fanout", "big", "relay", "signed"]
# What we set out to reach: messages per second beside Postfix, CPU per copy beside Postfix.
RATE_GOALS = {"reuse": 10, "spread": 8, "hot": 8, "one": 3, "relay": 6, "signed": 6}
CPU_GOALS = {"reuse": 12, "spread": 10, "hot": 10, "fanout": 5, "big": 3, "relay": 8}


def calls(args):
    total, most = 0, []
    with open(args.file) as handle:
        for line in handle:
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                total += int(fields[3])
                most.append((int(fields[3]), fields[-1]))
    most.sort(reverse=True)
    emit({
        "bench": "calls", "case": args.case, "messages": args.messages,
        "per_message": round(total / args.messages, 3),
        "most": {name: round(count / args.messages, 2) for count, name in most[:12]},
    }, "pillarbox", args.out)


def read_line(sock):
    data = b""
    while not data.endswith(b"\n"):
        chunk = sock.recv(4096)
        if not chunk:
            raise SystemExit("connection closed")
        data += chunk
    return data


def memory(args):
    def begin(number):
        sock = socket.create_connection(("127.0.0.1", args.port), timeout=30)
        lines = [read_line(sock)]
        if args.log_in:
            for command in ("USER m%d" % number, "PASS " + args.log_in):
                sock.sendall(command.encode() + b"\r\n")
                lines.append(read_line(sock))
        if not all(line.startswith(b"+OK") for line in lines):
            raise SystemExit("refused: %r" % lines)
        return sock

    idle = memory_of([args.pid])
    # What of the program the first session reads is no cost of each.
    begin(1).close()
    time.sleep(args.settle)
    before = memory_of([args.pid])
    sessions = [begin(number) for number in range(1, args.count + 1)]
    time.sleep(args.settle)
    after = memory_of([args.pid])
    emit({
        "bench": "memory", "case": "logged in" if args.log_in else "connected", "count": args.count,
        "idle_rss_kib": idle["rss_kib"], "full_rss_kib": after["rss_kib"],
        "rss_kib_each": round((after["rss_kib"] - before["rss_kib"]) / args.count, 2),
    }, "pillarbox", args.out)
    for sock in sessions:
        sock.close()


def start(args):
    for run in range(1, args.runs + 1):
        # The first start of all also makes a key; an empty spool is one without mail.
        begun = time.perf_counter()
        process = subprocess.Popen([args.program, "-d", "-f", args.config], stderr=subprocess.PIPE)
        text = b""
        while b"pillarbox ready" not in text:
            if not select.select([process.stderr], [], [], 10)[0]:
                break
            chunk = os.read(process.stderr.fileno(), 65536)
            if not chunk:
                break
            text += chunk
        seconds = time.perf_counter() - begun
        process.terminate()
        process.communicate()
        if b"pillarbox ready" not in text:
            raise SystemExit("no ready line: %r" % text[-500:])
        emit({"bench": "start", "case": "empty spool", "run": run, "ms": round(seconds * 1e3, 1)}, "pillarbox", args.out)
        if run == 1:
            for name in os.listdir(args.fresh):
                path = os.path.join(args.fresh, name)
                if name != "tls":
                    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def verdict(value, goal, at_least):
    if goal is None:
        return ""
    kept = value >= goal if at_least else value <= goal
    return "%s %g: %s" % ("at least" if at_least else "at most", goal, "kept" if kept else "MISSED")


def row(name, ours, theirs, result, judged):
    print("%-48s %10s %10s %9s  %s" % (name, ours, theirs, result, judged))


def table(args):
    rows = {}
    with open(args.file) as handle:
        for line in handle:
            entry = json.loads(line)
            rows.setdefault((entry["server"], entry["bench"], entry["case"]), []).append(entry)

    def middle(server, bench, case, field):
        values = [entry[field] for entry in rows.get((server, bench, case), []) if entry.get(field) is not None]
        return statistics.median(values) if values else None

    def shown(value):
        return "-" if value is None else "%g" % round(value, 3)

    def compare(name, bench, case, field, peer, goal, more_is_better, peer_case=None):
        ours, theirs = middle("pillarbox", bench, case, field), middle(peer, bench, peer_case or case, field)
        if ours is None:
            return
        ratio = None
        if theirs is not None and ours and theirs:
            ratio = ours / theirs if more_is_better else theirs / ours
        judged = "" if ratio is None else verdict(ratio, goal, True)
        row(name, shown(ours), shown(theirs), "" if ratio is None else "%.2f x" % ratio, judged)

    def single(name, bench, case, field, goal, scale=1, peer=None):
        ours, theirs = middle("pillarbox", bench, case, field), middle(peer, bench, case, field)
        if ours is not None:
            ratio = "%.2f x" % (theirs / ours) if theirs and ours else ""
            row(name, shown(ours / scale), shown(theirs) if theirs else "", ratio, verdict(ours / scale, goal, False))

    def engine(bench, title):
        def than(name, case, goal, field="ms", peer_case=None):
            compare(title + name, bench, case, field, "dovecot", goal, field == "per_s", peer_case)

        than("never seen, open, ms", "select.first", None)
        than("no index, open, ms", "select.noindex", 8)
        lines, first = middle("pillarbox", bench, "wc", "ms"), middle("pillarbox", bench, "select.first", "ms")
        if lines and first:
            row(title + "never seen, open, times `wc -l`", shown(first / lines), "", "", verdict(first / lines, 2, False))
        single(title + "open with index, ms", bench, "select.warm", "ms", 2, peer="dovecot")
        than("what all are made of, no cache, ms", "structure.first", None)
        than("the same, again, ms", "structure.again", None)
        for whose, prefix in (("our mail", "own."), ("foreign mail", "")):
            than("flag on all, others see it, ms, " + whose, prefix + "store.seen", 1, peer_case="store.seen")
            than("flag on all, written, ms, " + whose, prefix + "check", 5, peer_case="check")
        single(title + "remove one, ms", bench, "expunge", "ms", 5, peer="dovecot")
        than("append, one writer, ms", "append", 1)
        than("append, 20 writers, per s", "append20", 5, "per_s")
        than("append, 20 in 20 mailboxes, per s", "append20.spread", 5, "per_s")
        for case, when in (("memory.first", "after first open"), ("memory.warm", "opened with index")):
            single(title + "MiB, " + when, bench, case, "kib", 8, 1024)
            single(title + "MiB, all flagged, " + when, bench, case, "kib_all_marked", None, 1024)
            single(title + "KiB each further session", bench, case, "kib_each_session", None)
        than("remove every second, ms", "expunge.half", None)
        than("and compact, ms", "compact", None, peer_case="expunge.half")
        single(title + "compaction, MiB/s moved", bench, "compact", "mib_per_s", None)

    def imap():
        def than(name, case, goal, field="ms"):
            compare("IMAP: " + name, "imap", case, field, "dovecot", goal, False)

        than("SELECT, never seen, ms", "select.first", None)
        than("SELECT with index, ms", "select.warm", 4)
        than("UID FLAGS INTERNALDATE SIZE of all, ms", "list", 3)
        than("header fields of all, ms", "fields", 3)
        than("header fields of all, again, ms", "fields.again", None)
        than("ENVELOPE of all, first, ms", "envelope.first", 4)
        than("ENVELOPE of all, cached, ms", "envelope.session", 8)
        than("ENVELOPE and BODYSTRUCTURE, no cache, ms", "structure.first", 3)
        than("ENVELOPE and BODYSTRUCTURE, cached, ms", "structure.session", 8)
        than("SORT (DATE), cached, ms", "sort.date", 3)
        than("THREAD REFERENCES, cached, ms", "thread", 3)
        than("FETCH 1:* BODY.PEEK[], thrown away, ms", "whole", 2)
        single("IMAP: the same, CPU s a GiB", "imap", "whole", "server_cpu_s_per_gib", 1, peer="dovecot")
        than("SEARCH BODY of a rare word, ms", "search.first", 20)
        than("flag on all, ms", "store.seen", 1)
        single("IMAP: EXPUNGE of one in the middle, ms", "imap", "expunge", "ms", 5, peer="dovecot")
        single("IMAP: a session in IDLE, KiB", "idle", "idle plain", "anon_kib_each", 40)
        single("IMAP: the same by TLS, KiB", "idle", "idle tls", "anon_kib_each", 96)

    row("figure (medians)", "pillarbox", "peer", "better by", "goal")
    for case in MAIL_CASES:
        compare(case + ", delivered/s", "smtp", case, "delivered_per_s", "postfix", RATE_GOALS.get(case), True)
    for case in MAIL_CASES:
        compare(case + ", CPU ms per copy", "smtp", case, "cpu_ms_per_copy", "postfix", CPU_GOALS.get(case), False)
    single("disk syncs per message", "calls", "syncs", "per_message", 0.25)
    single("system calls per message", "calls", "syscalls", "per_message", 60)
    single("idle daemon, MiB resident", "memory", "connected", "idle_rss_kib", 12, 1024)
    single("POP3 session connected, KiB", "memory", "connected", "rss_kib_each", 32)
    single("POP3 session logged in, KiB", "memory", "logged in", "rss_kib_each", 32)
    single("start to ready, ms", "start", "empty spool", "ms", 100)
    for when in ("first", "again"):
        compare("POP3 login, ms, " + when, "pop3", "login_stat." + when, "ms", "dovecot", None, False)
        compare("POP3 RETR of all, ms, " + when, "pop3", "retr_all." + when, "ms", "dovecot", 3, False)
        compare("POP3 RETR of all, CPU ms, " + when, "pop3", "retr_all." + when, "server_cpu_ms", "dovecot", None, False)
    engine("engine", "1 GiB: ")
    engine("engine10", "10 MiB: ")
    imap()
    for entries in rows.values():
        for entry in entries:
            if entry.get("status", "OK") != "OK":
                print("WRONG:", json.dumps(entry))
            if entry["bench"] == "smtp" and (entry.get("clients_failed") or entry.get("delivered_s") is None):
                print("WRONG:", json.dumps(entry))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("calls")
    sub.add_argument("file")
    sub.add_argument("--case", required=True)
    sub.add_argument("--messages", type=int, required=True)
    sub = commands.add_parser("memory")
    sub.add_argument("--port", type=int, required=True)
    sub.add_argument("--pid", type=int, required=True)
    sub.add_argument("--log-in", metavar="PASSWORD")
    sub.add_argument("--count", type=int, default=1000)
    sub.add_argument("--settle", type=float, default=3)
    sub = commands.add_parser("start")
    sub.add_argument("--program", required=True)
    sub.add_argument("--config", required=True)
    sub.add_argument("--fresh", required=True)
    sub.add_argument("--runs", type=int, default=9)
    sub = commands.add_parser("table")
    sub.add_argument("file")
    for sub in commands.choices.values():
        sub.add_argument("--out")
    args = parser.parse_args()
    {"calls": calls, "memory": memory, "start": start, "table": table}[args.command](args)


if __name__ == "__main__":
    main()
