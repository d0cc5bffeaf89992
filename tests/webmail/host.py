"""A daemon of one's own with webmail, the browser's driver, and a listener at the end of every other host's name."""
import contextlib
import os
import select
import shutil
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request

from driver import PATIENCE, Browser, until

CONFIG = '''hostname = "localhost"
domains = ["here.test"]
users = ["users"]
user = ""
spool = "spool"
mail = "mail"
aliases = ""
pid_file = "pid"
[[listen]]
address = "127.0.0.1:%d"
protocol = "smtp"
[[listen]]
address = "127.0.0.1:%d"
protocol = "http"
[[sender]]
user = "carol"
addresses = ["office@here.test"]
[log]
to = "stderr"
'''


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class SlowLine:
    """A way to the daemon on which little goes up at once, as long as `pause` says: seconds for each 16 KiB."""

    def __init__(self, port):
        self.to, self.pause = port, 0
        self.listener = socket.socket()
        # What lies in buffers has gone up already, as the browser sees it.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.site = "https://localhost:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.to))
            for one, other, is_up in [(near, far, True), (far, near, False)]:
                threading.Thread(target=self.carry, args=(one, other, is_up), daemon=True).start()

    def carry(self, one, other, is_up):
        try:
            while block := one.recv(16 << 10):
                time.sleep(self.pause if is_up else 0)
                other.sendall(block)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            other.close()


class Host:
    def __init__(self, programs, mailbox=b""):
        """`mailbox`: mail that is there before it starts, of alice."""
        self.home = tempfile.mkdtemp(prefix="pillarbox-webmail.")
        self.smtp, https, control = (free_port() for _ in range(3))
        self.site, self.driver, self.https = "https://localhost:%d" % https, "http://127.0.0.1:%d" % control, https
        self.started, self.killed, self.idle = [], [], {}
        self.is_slow = "debug" in programs
        self.heard = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.far = self.listener.getsockname()[1]
        threading.Thread(target=self.listen, daemon=True).start()
        os.mkdir(self.home + "/saved")
        os.mkdir(self.home + "/mail")
        if mailbox:
            with open(self.home + "/mail/alice", "wb") as out:
                out.write(mailbox)
        config = self.home + "/pillarbox.conf"
        self.command = [programs + "/pillarbox", "-d", "-f", config]
        with open(config, "w") as out:
            out.write(CONFIG % (self.smtp, https))
        for user in ["alice", "bob", "carol"]:
            subprocess.run([programs + "/pillarboxctl", "-f", config, "user", "add", user], input=b"secret\n", check=True)
        self.run(self.command)
        self.run([shutil.which("chromedriver"), "--port=%d" % control])

    def run(self, command):
        with open(self.home + "/log", "a") as log:
            self.started.append(subprocess.Popen(command, stdout=log, stderr=log))

    def __enter__(self):
        try:
            self.answers()
            until("the driver", lambda: urllib.request.urlopen(self.driver + "/status", timeout=5))
        except BaseException:
            self.__exit__(SystemExit)
            raise
        return self

    def answers(self):
        until("the daemon", lambda: socket.create_connection(("127.0.0.1", self.smtp), PATIENCE))

    def kill(self):
        """As a power cut would."""
        self.killed.append(self.started.pop(0))
        self.killed[-1].kill()
        self.killed[-1].wait()

    def start_again(self):
        self.run(self.command)
        self.started.insert(0, self.started.pop())
        self.answers()

    def __exit__(self, kind, *_):
        # The driver's end is not theirs.
        for browser in self.idle.values():
            with contextlib.suppress(AssertionError, OSError):
                browser.close()
        for process in reversed(self.started):
            process.terminate()
            process.wait()
        if kind:
            with open(self.home + "/log", errors="replace") as log:
                print("".join(log.readlines()[-15:]))
        shutil.rmtree(self.home, ignore_errors=True)

    def listen(self):
        """Remembers how every connection begins: its TLS greeting has the host's name in it, and so has a request."""
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.hear, args=(stream,), daemon=True).start()

    def hear(self, stream):
        with stream:
            if select.select([stream], [], [], 5)[0]:
                self.heard.append(stream.recv(4096))

    def asked(self, name):
        """Was a host asked for whose name has this in it? The browser's maker has services that it may ask by itself."""
        return [start for start in self.heard if name.encode() in start]

    def send(self, *letters, to="alice@here.test"):
        with smtplib.SMTP("127.0.0.1", self.smtp, local_hostname="client.test", timeout=PATIENCE) as talk:
            for letter in letters:
                talk.sendmail("writer@far.test", [to], letter)

    def browser(self, *args, **kwargs):
        return Browser(self, *args, **kwargs)

    @contextlib.contextmanager
    def visit(self, user="alice", **kind):
        """A browser in which somebody is logged in: one that a test is done with, or a new one."""
        key = (len(self.killed), user, *sorted(kind.items()))
        browser = self.idle.pop(key, None)
        if not browser:
            browser = self.browser(**kind)
            browser.log_in(user)
        yield browser
        if key in self.idle:
            browser.close()
        else:
            self.idle[key] = browser

    def fetch(self, browser, path):
        """An answer with its fields, asked for as this browser would."""
        cookies = "; ".join("%(name)s=%(value)s" % cookie for cookie in browser.ask("GET", "/cookie"))
        trusting = ssl._create_unverified_context()
        url = path if path.startswith("https:") else self.site + path
        return urllib.request.urlopen(urllib.request.Request(url, headers={"Cookie": cookies}), timeout=PATIENCE, context=trusting)
