#!/bin/sh
# Cargo runs test programs through this, so that each test tells its seconds. The integration tests do so anyway; Rust's own
# harness has it among the options that it calls unstable, so a toolchain without it runs the tests as usual.
case $1 in
    */integration-*) exec "$@" ;;
esac
times='-Zunstable-options --report-time'
# shellcheck disable=SC2086
if env RUSTC_BOOTSTRAP=1 "$1" --list $times >/dev/null 2>&1; then
    exec env RUSTC_BOOTSTRAP=1 "$@" $times
fi
exec "$@"
