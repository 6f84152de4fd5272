#!/bin/bash
# From a fresh checkout to a mount, on Debian 12 or newer.
#
#   ./contrib/quickstart.sh            shows ftpfs at work on a small FTP server that it starts on loopback
#   ./contrib/quickstart.sh URL DIR    mounts URL at DIR (umount DIR ends it)
#
# Installs what is missing (fuse3, a C compiler, Rust) with apt-get, as root or through sudo, then builds.
set -euo pipefail
# shellcheck source=contrib/lib.sh
. "$(dirname "$0")/lib.sh"

case $# in
  0 | 2) ;;
  *) die "usage: $0 [URL DIR]" ;;
esac

unmount() { if [ "$(id -u)" = 0 ]; then umount "$1"; else fusermount3 -u "$1"; fi; }

# Prints a command as a user would type it, and runs it.
show() {
  printf '\n$ %s\n' "$1"
  (cd "$MOUNT" && LC_ALL=C.UTF-8 bash -c "$1")
}

finish() {
  if grep -qs " $MOUNT fuse" /proc/mounts; then unmount "$MOUNT" || umount -l "$MOUNT" || true; fi
  if [ -n "$DEMO" ]; then
    # It removes its files before it ends. Should this script be killed, it ends with its standard input.
    kill "$DEMO" 2>/dev/null || true
    wait "$DEMO" 2>/dev/null || true
  fi
  rm -rf --one-file-system "$WORK"
}

ensure_build_tools
ensure_rust
ensure_fuse
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
say "building ftpfs"
cd "$ROOT"
retry cargo fetch --quiet || die "cannot download the libraries"
cargo build --release --bin ftpfs

if [ $# = 2 ]; then
  mkdir -p "$2"
  "$TARGET/release/ftpfs" "$1" "$2"
  say "$2 shows the server's files; 'umount $2' (or 'fusermount3 -u $2') ends it"
  exit 0
fi

say "building the demo server"
cargo build --example demo_server
WORK=$(mktemp -d)
MOUNT=$WORK/ftp
mkdir "$MOUNT"
DEMO=
trap finish EXIT
coproc SERVER { exec "$TARGET/debug/examples/demo_server"; }
DEMO=$SERVER_PID
read -r -t 30 URL <&"${SERVER[0]}" || die "the demo server did not start"
PORT=${URL##*:}
for _ in $(seq 100); do
  if (exec 3<>"/dev/tcp/127.0.0.1/${PORT%/}") 2>/dev/null; then break; fi
  sleep 0.1
done

say "an FTP server with sample files is at $URL"
printf '\n$ ftpfs %s %s\n' "$URL" "$MOUNT"
"$TARGET/release/ftpfs" "$URL" "$MOUNT"
show 'ls -l'
show 'cat poems/ozymandias.txt'
show 'find . -type f | sort'
show 'grep -rn error logs'
show 'tail -c 16 big.bin | od -An -tx1'
show 'df -hT .'
printf '\n$ umount %s\n' "$MOUNT"
unmount "$MOUNT"
say "done; now: $TARGET/release/ftpfs ftp://your.server/ /some/empty/directory"
