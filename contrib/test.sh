#!/bin/bash
# Installs the real FTP servers and runs every test. Debian 12, as root, with /dev/fuse.
#
#   ./contrib/test.sh [ARGUMENTS of cargo test]        such as: --test servers -- names fstab
#
# Nothing is skipped: without root, /dev/fuse or a server it fails. Test data (1.3 GB, kept for the next run) is in
# /var/lib/ftpfs-test; when no test runs, it may be removed.
set -euo pipefail
# shellcheck source=contrib/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || die "the tests mount file systems and start servers: run as root"
ensure_build_tools
ensure_rust
ensure_fuse
"$ROOT/contrib/install-test-servers.sh"
export FTPFS_TEST_SERVERS=$ROOT/target/test-servers

cd "$ROOT"
retry cargo fetch --quiet || die "cannot download the libraries"
# Many tests wait for a server's or a client's time bound: more of them at once than there are processors.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
say "cargo test $*"
cargo test "$@"
[ $# = 0 ] || exit 0

say "what operations cost in round trips: contrib/ROUNDTRIPS.md"
cargo test --quiet --test servers -- --ignored roundtrips --test-threads=1
