#!/usr/bin/env python3
"""Webmail in a real browser, by WebDriver (Chromium and its driver), over HTTPS.

    run.py BIN [GROUP...]

A daemon of its own for each group, on free ports, with users alice and bob. `driver` is the browser, `host` the daemon, `letters`
the mail; each other file has the tests of one group.
"""
import importlib
import sys
import time

from host import Host

GROUPS = ["tour", "reading", "writing", "hostile", "looks", "live", "acting", "axe", "kept", "lists", "correspondence", "settings"]


def main():
    for group in sys.argv[2:] or GROUPS:
        with Host(sys.argv[1]) as host:
            for test in importlib.import_module(group).TESTS:
                begun = time.monotonic()
                print("  %s: %s" % (group, test.__name__.replace("_", " ")), end="", flush=True)
                test(host)
                print(" (%.1f s)" % (time.monotonic() - begun))


if __name__ == "__main__":
    main()
