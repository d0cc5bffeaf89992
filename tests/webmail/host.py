"""A daemon of one's own with webmail, the browser's driver, and a listener at the end of every other host's name."""
import os
import select
import shutil
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
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
[log]
to = "stderr"
'''


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Host:
    def __init__(self, programs, mailbox=b""):
        """`mailbox`: mail that is there before it starts, of alice."""
        self.home = tempfile.mkdtemp(prefix="pillarbox-webmail.")
        self.smtp, https, control = (free_port() for _ in range(3))
        self.site, self.driver, self.https = "https://localhost:%d" % https, "http://127.0.0.1:%d" % control, https
        self.started, self.failed = [], True
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
        with open(config, "w") as out:
            out.write(CONFIG % (self.smtp, https))
        for user in ["alice", "bob"]:
            subprocess.run([programs + "/pillarboxctl", "-f", config, "user", "add", user], input=b"secret\n", check=True)
        with open(self.home + "/log", "w") as log:
            self.started.append(subprocess.Popen([programs + "/pillarbox", "-d", "-f", config], stderr=log))
            self.started.append(subprocess.Popen([shutil.which("chromedriver"), "--port=%d" % control], stdout=log, stderr=log))

    def __enter__(self):
        try:
            until("the daemon", lambda: socket.create_connection(("127.0.0.1", self.smtp), PATIENCE))
            until("the driver", lambda: urllib.request.urlopen(self.driver + "/status", timeout=5))
        except BaseException:
            self.__exit__(SystemExit)
            raise
        return self

    def __exit__(self, kind, *_):
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

    def fetch(self, browser, path):
        """An answer with its fields, asked for as this browser would."""
        cookies = "; ".join("%(name)s=%(value)s" % cookie for cookie in browser.ask("GET", "/cookie"))
        trusting = ssl._create_unverified_context()
        url = path if path.startswith("https:") else self.site + path
        return urllib.request.urlopen(urllib.request.Request(url, headers={"Cookie": cookies}), timeout=PATIENCE, context=trusting)
