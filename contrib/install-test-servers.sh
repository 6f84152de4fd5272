#!/bin/bash
# Installs the four real FTP servers that the tests run against, and the tools that change files. Debian 12, as root.
#
#   contrib/install-test-servers.sh [DIR]        DIR: target/test-servers unless given
#
# vsftpd comes as a package. proftpd and pure-ftpd conflict with it as packages, so these are only unpacked
# into DIR; pyftpdlib, and pyOpenSSL for its TLS, go into a virtual environment there. No service is started,
# stopped or configured, and no account is made but `ftp`, which vsftpd's package makes: the tests start their own
# servers, on loopback addresses of their own, with their own password file bound over the system's in a private
# mount namespace.
# The two programs that check a file system, fsx and pjdfstest, are built into DIR/tools with the Rust found here.
# Running it again is quick and harmless.
set -euo pipefail
# shellcheck source=contrib/lib.sh
. "$(dirname "$0")/lib.sh"

VERSION=2
PYFTPDLIB=2.2.0
PYOPENSSL=26.4.0
FSX=0.3.2
PJDFSTEST=0.2.2
UNPACKED=(proftpd-core proftpd-mod-crypto pure-ftpd pure-ftpd-common)
TOOLS=(rsync git unzip zip sqlite3 perl vim-tiny tar openssl)
LIBRARIES=(libhiredis0.14 libmemcached11 libmemcachedutil2 libpcre2-posix3 libsodium23 libmariadb3 libpq5 libidn2-0)

mkdir -p "${1:-$ROOT/target/test-servers}"
DIR=$(cd "${1:-$ROOT/target/test-servers}" && pwd)
STAMP="$DIR/.installed-$VERSION-$PYFTPDLIB-$PYOPENSSL-$FSX-$PJDFSTEST"

# On a machine where installing a package starts its service, vsftpd would take port 21.
install_vsftpd() {
  if is_installed vsftpd; then return 0; fi
  local policy=/usr/sbin/policy-rc.d
  if [ -e $policy ] || [ -L $policy ]; then
    install_packages vsftpd
  else
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    install_packages vsftpd
    rm -f $policy
    trap - EXIT
    # It must not start at the next boot either: it is here for the tests alone.
    if command -v systemctl >/dev/null; then systemctl disable vsftpd >/dev/null 2>&1 || true; fi
  fi
}

unpack_servers() {
  local downloads="$DIR/packages" package
  rm -rf "$downloads" "$DIR/root"
  mkdir -p "$downloads"
  # apt-get downloads as user _apt, which may be unable to reach DIR; then it goes on as root, with a warning.
  (cd "$downloads" && retry apt-get download -qq "${UNPACKED[@]}" 2> >(grep -v 'unsandboxed' >&2)) ||
    die "cannot download ${UNPACKED[*]}"
  for package in "$downloads"/*.deb; do
    dpkg -x "$package" "$DIR/root"
  done
}

check_libraries() {
  local file missing
  for file in "$DIR"/root/usr/sbin/{proftpd,pure-ftpd} "$DIR"/root/usr/bin/pure-pw; do
    missing=$(ldd "$file" | grep 'not found' || true)
    if [ -n "$missing" ]; then die "$file lacks libraries: $missing"; fi
  done
}

# Without optimisation: they wait for the file system. Their own target directory leaves the project's alone.
build_checkers() {
  ensure_build_tools
  ensure_rust
  CARGO_TARGET_DIR="$DIR/tools-build" retry cargo install --quiet --locked --debug --root "$DIR/tools" \
    "fsx@$FSX" "pjdfstest@$PJDFSTEST" || die "cannot build fsx and pjdfstest"
  rm -rf "$DIR/tools-build"
}

[ "$(id -u)" = 0 ] || die "run as root: it installs packages"
if [ -e "$STAMP" ] && [ -x /usr/sbin/vsftpd ]; then
  say "test servers are in $DIR"
  exit 0
fi

install_packages fuse3 util-linux python3-venv ca-certificates "${TOOLS[@]}" "${LIBRARIES[@]}"
install_vsftpd
apt_update
say "unpacking ${UNPACKED[*]}"
unpack_servers
check_libraries
say "installing pyftpdlib $PYFTPDLIB and pyOpenSSL $PYOPENSSL"
if [ ! -x "$DIR/venv/bin/python3" ]; then python3 -m venv "$DIR/venv"; fi
retry "$DIR/venv/bin/pip" install -q --disable-pip-version-check \
  "pyftpdlib==$PYFTPDLIB" "pyOpenSSL==$PYOPENSSL" || die "cannot install pyftpdlib and pyOpenSSL"
say "building fsx $FSX and pjdfstest $PJDFSTEST"
build_checkers
rm -f "$DIR"/.installed-*
touch "$STAMP"
say "test servers are in $DIR"
