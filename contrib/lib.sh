# Functions shared by the scripts of this directory; sourced, not run.
# Needs bash with `set -euo pipefail`. Speaks to apt-get only where something is really missing.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '== %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# retry COMMAND...: a download may fail once for no reason of ours, so three attempts in all.
retry() {
  local attempt
  for attempt in 1 2 3; do
    if "$@"; then return 0; fi
    echo "attempt $attempt of 3 failed: $*" >&2
    if [ "$attempt" != 3 ]; then sleep "$((attempt * 5))"; fi
  done
  return 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root (and there is no sudo): $*"
  fi
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# A name that other packages only refer to has a page in apt-cache, but no candidate. Needs apt_update before.
is_available() { apt-cache policy "$1" | grep 'Candidate: [^(]' >/dev/null; }

APT_UPDATED=
apt_update() {
  if [ -n "$APT_UPDATED" ]; then return 0; fi
  retry as_root apt-get update -qq || die "apt-get update failed: is there a network, and a Debian mirror?"
  APT_UPDATED=yes
}

# install_packages NAME...: those that are missing, without recommended ones.
install_packages() {
  command -v apt-get >/dev/null || die "no apt-get here; install by hand what Debian calls: $*"
  local package missing=()
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  if [ ${#missing[@]} = 0 ]; then return 0; fi
  say "installing ${missing[*]}"
  apt_update
  retry as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "cannot install: ${missing[*]}"
}

# shellcheck disable=SC2120 # scripts that need no tools name none
# ensure_rust [TOOL...]: a cargo that is new enough, with the tools named (fmt, clippy).
# One that is there is used as it is. Debian 12 ships a current Rust as *-web, newer releases ship rustup.
ensure_rust() {
  if [ -f "$HOME/.cargo/env" ]; then
    # shellcheck disable=SC1091
    . "$HOME/.cargo/env"
  fi
  if ! command -v cargo >/dev/null; then
    apt_update
    if is_available rustc-web; then
      install_packages rustc-web cargo-web ca-certificates
    elif is_available rustup; then
      install_packages rustup ca-certificates
      retry rustup default stable || die "rustup could not fetch a toolchain"
    fi
  fi
  local tool needed found
  if ! command -v cargo >/dev/null; then die "no Rust here, and no package of it; install it from https://rustup.rs"; fi
  needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  found=$(rustc --version | cut -d' ' -f2)
  if [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -1)" != "$needed" ]; then
    die "Rust $found is too old, $needed is needed; install it from https://rustup.rs"
  fi
  for tool in "$@"; do
    if cargo "$tool" --version >/dev/null 2>&1; then continue; fi
    case $tool in
      fmt) if command -v rustup >/dev/null; then retry rustup component add rustfmt; else install_packages rustfmt-web; fi ;;
      clippy) if command -v rustup >/dev/null; then retry rustup component add clippy; else install_packages rust-web-clippy; fi ;;
    esac
    cargo "$tool" --version >/dev/null || die "cargo $tool is missing"
  done
}

# ensure_build_tools: what cargo needs to link a program.
ensure_build_tools() {
  if ! command -v cc >/dev/null; then install_packages gcc libc6-dev; fi
}

# ensure_cxx: what the fuzzer's own library is compiled with.
ensure_cxx() {
  if ! command -v c++ >/dev/null; then install_packages g++; fi
}

# ensure_fuse: the kernel's side and the set-user-id helper for mounts by ordinary users.
ensure_fuse() {
  if ! command -v fusermount3 >/dev/null; then install_packages fuse3; fi
  if [ ! -c /dev/fuse ]; then as_root modprobe fuse 2>/dev/null || true; fi
  if [ ! -c /dev/fuse ]; then
    die "no /dev/fuse: load the kernel's fuse module, or give the container '--device /dev/fuse --cap-add SYS_ADMIN'"
  fi
}
