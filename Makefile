# Pillarbox. The targets for people: demo, check, install; see README.

PREFIX     = /usr/local
SYSCONFDIR = /etc
CARGO      = cargo
SBINDIR    = $(PREFIX)/sbin
BINDIR     = $(PREFIX)/bin
LIBDIR     = $(PREFIX)/lib
MANDIR     = $(PREFIX)/share/man
UNITDIR    = $(SYSCONFDIR)/systemd/system
# Where the programs are that are installed.
BUILT      = target/release

CONFDIR    = $(SYSCONFDIR)/pillarbox
PROGRAMS   = pillarbox pillarboxctl
PAGES      = $(notdir $(wildcard man/*))
MANDIRS    = $(addprefix $(MANDIR)/man,$(sort $(subst .,,$(suffix $(PAGES)))))
# Below /etc, and not to be changed by hand.
ETC        = init.d/pillarbox fail2ban/filter.d/pillarbox.conf fail2ban/jail.d/pillarbox.conf

# The demo takes the release build if there is one; else a debug build is ready sooner.
DEMO_PROFILE = $(if $(wildcard target/release/pillarbox),release,dev)
DEMO_DIR     = target/$(if $(filter release,$(DEMO_PROFILE)),release,debug)

all: toolchain
	$(CARGO) build --release --locked

demo: toolchain
	@$(CARGO) build --locked --quiet --profile $(DEMO_PROFILE)
	@etc/demo.sh $(DEMO_DIR)

# Format, lints, all tests; each test tells its seconds.
check: toolchain deps
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --check; else echo "check: skipped: format (rustfmt is not installed)"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy --locked --all-targets --quiet -- -D warnings; else echo "check: skipped: lints (clippy is not installed)"; fi
	@$(CARGO) --config "target.'cfg(unix)'.runner = '$(CURDIR)/tests/timed.sh'" test --locked

# Real servers, load, long crash runs.
check-peers: toolchain
	tests/deps.sh --peers
	$(CARGO) build --release --locked
	tests/peers/run.sh

# The Debian package, installed over Postfix on a host of its own.
check-system: toolchain
	tests/deps.sh --system
	$(CARGO) build --release --locked
	tests/system/run.sh $(BUILT)

# Figures beside Postfix and Dovecot.
bench: toolchain
	tests/deps.sh --peers
	$(CARGO) build --release --locked
	tests/bench/run.sh
	tests/bench/webmail_bench.py $(BUILT)

# Hours of kill -9, of odd input, and of mail programs at one mailbox; these say how long.
ROUNDS         = 2000
SECONDS        = 1800
PROGRAM_ROUNDS = 200
MESSAGES       = 100000
WRITTEN        = 1000000
soak: toolchain deps
	PILLARBOX_CRASH_ROUNDS=$(ROUNDS) PILLARBOX_FUZZ_SECONDS=$(SECONDS) PILLARBOX_SHARED_SECONDS=$(SECONDS) $(CARGO) test --locked --test integration -- crash restart fuzz shared
	PILLARBOX_QUEUE_MESSAGES=$(MESSAGES) $(CARGO) test --locked --test integration -- load::living
	PILLARBOX_LONG_QUEUE=$(WRITTEN) $(CARGO) test --release --locked --test integration -- long_queue
	PILLARBOX_MODEL_SECONDS=$(SECONDS) PILLARBOX_FUZZ_SECONDS=$(SECONDS) $(CARGO) test --locked --lib -- --include-ignored mailbox::tests::model mailbox::tests::fuzzing
	$(CARGO) test --locked --lib -- --ignored at_length
	tests/deps.sh --peers
	$(CARGO) build --release --locked
	PILLARBOX_PROGRAM_ROUNDS=$(PROGRAM_ROUNDS) tests/peers/run.sh four_writers alpine_writes
	PILLARBOX_SESSION_SECONDS=600 tests/peers/run.sh sessions

# What the tests need: programs, and the crates, so that everything after it runs offline.
deps: toolchain
	@tests/deps.sh
	@$(CARGO) fetch --locked --quiet || $(CARGO) fetch --locked --quiet --offline

toolchain:
	@command -v $(CARGO) >/dev/null || { echo "Cargo is missing: Rust 1.88 or newer is needed, see https://rustup.rs" >&2; exit 1; }
	@rustc --version | awk '{ split($$2, v, "."); if (v[1] == 1 && v[2] < 88) { print "Rust 1.88 or newer is needed, this is " $$2 ": say rustup update" > "/dev/stderr"; exit 1 } }'
	@command -v cc >/dev/null || { echo "A C compiler is missing: install gcc or clang (Debian: apt install gcc)" >&2; exit 1; }

install: all
	install -d $(addprefix $(DESTDIR),$(SBINDIR) $(BINDIR) $(LIBDIR) $(UNITDIR) $(MANDIRS) $(CONFDIR) $(addprefix $(SYSCONFDIR)/,$(dir $(ETC))))
	install -m 755 $(addprefix $(BUILT)/,$(PROGRAMS)) $(DESTDIR)$(SBINDIR)
	install -m 755 $(BUILT)/pillarbox-drop $(DESTDIR)$(SBINDIR)
	if [ "$$(id -u)" = 0 ] && getent group pillarbox-drop >/dev/null; then chgrp pillarbox-drop $(DESTDIR)$(SBINDIR)/pillarbox-drop && chmod 2755 $(DESTDIR)$(SBINDIR)/pillarbox-drop; fi
	ln -sf pillarboxctl $(DESTDIR)$(SBINDIR)/sendmail
	ln -sf ../sbin/pillarboxctl $(DESTDIR)$(LIBDIR)/sendmail
	ln -sf ../sbin/pillarboxctl $(DESTDIR)$(BINDIR)/mailq
	ln -sf ../sbin/pillarboxctl $(DESTDIR)$(BINDIR)/newaliases
	for page in $(PAGES); do install -m 644 man/$$page $(DESTDIR)$(MANDIR)/man$${page##*.}; done
	for file in $(ETC); do install -m $$(test -x etc/$$file && echo 755 || echo 644) etc/$$file $(DESTDIR)$(SYSCONFDIR)/$$file; done
	sed 's,/usr/sbin,$(SBINDIR),' etc/pillarbox.service > $(DESTDIR)$(UNITDIR)/pillarbox.service
	test -e $(DESTDIR)$(SYSCONFDIR)/aliases || install -m 644 etc/aliases $(DESTDIR)$(SYSCONFDIR)
	test -e $(DESTDIR)$(CONFDIR)/pillarbox.conf || install -m 644 etc/pillarbox.conf $(DESTDIR)$(CONFDIR)

# Mail, users, aliases and configuration stay.
uninstall:
	cd $(DESTDIR)$(SBINDIR) && rm -f $(PROGRAMS) pillarbox-drop sendmail
	rm -f $(DESTDIR)$(LIBDIR)/sendmail $(DESTDIR)$(BINDIR)/mailq $(DESTDIR)$(BINDIR)/newaliases $(DESTDIR)$(UNITDIR)/pillarbox.service
	for page in $(PAGES); do rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; done
	cd $(DESTDIR)$(SYSCONFDIR) && rm -f $(ETC)

# A Debian package, in target.
deb: all
	etc/debian/build.sh $(BUILT) target

clean:
	$(CARGO) clean

.PHONY: all demo check check-peers check-system bench soak deps toolchain install uninstall deb clean
