#!/usr/bin/env python3
"""What the daemon costs a small host: size, start, memory with sessions, and mail for users of the system.

    host.py BUILT [--sessions 100] [--messages 2000]        BUILT: where the programs are. Needs root and a group `mail`.

One daemon serves users of a users file, another those of this host (mail goes to `bin`), both as two processes, with
directories of their own below /var/tmp. Start: from the call to the line that says ready. Memory: PSS of both processes
with so many IMAP sessions in IDLE. Mail: messages of 4 KiB one after the other in one connection, each in the mailbox
before its reply; and how many processes the monitor forked for each.
"""
import argparse
import os
import pathlib
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from mailclient import Imap  # noqa: E402


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Daemon:
    def __init__(self, built, users):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir="/var/tmp", prefix="pillarbox-bench."))
        os.chmod(self.dir, 0o755)
        self.smtp, self.imap = free_port(), free_port()
        own = self.dir / "users"
        users = "\"system\"" if users == "system" else f"\"{own}\""
        (self.dir / "conf").write_text(f"""hostname = "mail.here.test"
domains = ["here.test"]
users = [{users}]
user = "nobody"
aliases = "{self.dir}/aliases"
spool = "{self.dir}/spool"
mail = "{self.dir}/mail"
pid_file = ""
control = "{self.dir}/ctl.sock"
[[listen]]
address = "127.0.0.1:{self.smtp}"
protocol = "smtp"
[[listen]]
address = "127.0.0.1:{self.imap}"
protocol = "imap"
[log]
to = "stderr"
""")
        (self.dir / "aliases").write_text("")
        if "system" not in users:
            for name in ["bin"]:
                subprocess.run([built / "pillarboxctl", "-f", self.dir / "conf", "user", "add", name], input=b"secret\n", check=True)
        begun = time.perf_counter()
        self.process = subprocess.Popen([built / "pillarbox", "-d", "-f", self.dir / "conf"], stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if b"pillarbox ready" in line:
                break
        self.start = time.perf_counter() - begun
        # What it logs from now on is not looked at, and must not hold it up.
        subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def pids(self):
        monitor = self.process.pid
        children = pathlib.Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
        return [monitor, *map(int, children)]

    def pss(self):
        def of(pid):
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return sum(map(of, self.pids()))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir)


def forks():
    lines = pathlib.Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("processes "))


def deliver(daemon, count):
    """Messages a second, and processes for each."""
    body = "Subject: x\r\n\r\n" + ("x" * 70 + "\r\n") * 56
    smtp = smtplib.SMTP("127.0.0.1", daemon.smtp)
    smtp.ehlo("client.test")
    smtp.sendmail("s@sender.test", ["bin@here.test"], body)
    before, begun = forks(), time.perf_counter()
    for _ in range(count):
        smtp.sendmail("s@sender.test", ["bin@here.test"], body)
    taken, made = time.perf_counter() - begun, forks() - before
    smtp.quit()
    return count / taken, made / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", type=pathlib.Path)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--messages", type=int, default=2000)
    args = parser.parse_args()
    built = args.built.resolve()
    for name in ["pillarbox", "pillarboxctl", "pillarbox-drop"]:
        print(f"{name}: {os.path.getsize(built / name) / 2**20:.1f} MiB")
    for users in ["file", "system"]:
        daemon = Daemon(built, users)
        print(f"users of {users}: start {daemon.start * 1000:.0f} ms, memory {daemon.pss() / 1024:.1f} MiB")
        if users == "file":
            sessions = []
            for _ in range(args.sessions):
                imap = Imap("127.0.0.1", daemon.imap)
                imap.login("bin", "secret")
                imap.must("SELECT INBOX")
                imap.idle()
                sessions.append(imap)
            time.sleep(3)
            print(f"users of {users}: {args.sessions} sessions, memory {daemon.pss() / 1024:.1f} MiB")
            for imap in sessions:
                imap.close()
        rate, made = deliver(daemon, args.messages)
        print(f"users of {users}: {rate:.0f} messages/s, {made:.2f} processes for each")
        daemon.stop()


if __name__ == "__main__":
    main()
