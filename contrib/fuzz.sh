#!/bin/bash
# Fuzzes the parsers: each target of fuzz/ for some time, as many at once as there are processors.
#
#   ./contrib/fuzz.sh [SECONDS_EACH] [TARGET...]       60 seconds and all targets if not told
#
# Needs the stable toolchain only: the instrumentation is what `cargo fuzz run --sanitizer none` asks for. Fails if
# anything was found, and then prints the input and how to run it again. What was learned about a parser is kept in
# target/fuzz/corpus for the next time.
set -euo pipefail
# shellcheck source=contrib/lib.sh
. "$(dirname "$0")/lib.sh"

case ${1-} in
  *[!0-9]* | '') seconds=60 ;;
  *) seconds=$1 && shift ;;
esac

OUT=$ROOT/target/fuzz
# Under load, or as an idle process, an innocent input may take its time; an endless one is found all the same.
LIMITS=(-timeout=60 -rss_limit_mb=512 -max_len=8192)
# What rustc needs to count where a program has been, and what it compared (cargo-fuzz's own list).
FLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-sanitizer-coverage-stack-depth
  -Cllvm-args=-simplifycfg-branch-fold-threshold=0"

# sources TARGET: where its parser is written, tests included.
sources() {
  cd "$ROOT/src"
  case $1 in
    replies) echo ftp/reply.rs ;;
    feat) echo ftp/features.rs ;;
    passive) echo ftp/data.rs ;;
    times) echo ftp/time.rs ftp/time/*.rs ;;
    paths) echo remote/path.rs ;;
    url) echo cli/url.rs ;;
    options) echo cli/options.rs cli/options/*.rs cli/proxy.rs ;;
    netrc) echo cli/netrc.rs ;;
    mlst | list_mlsd) echo ftp/list/mlsx.rs ftp/list/mlsx/*.rs ;;
    list_mvs_members) echo ftp/list/mvs.rs ;;
    list_vote) echo ftp/list/*.rs ftp/list/*/*.rs ;;
    list_*) find "ftp/list/${1#list_}" "ftp/list/${1#list_}.rs" ftp/list/dates.rs -name '*.rs' 2>/dev/null ;;
  esac
}

# Seeds are the listings of the tests, and the strings of the parser's own source, its tests' examples among them;
# the short ones are its dictionary.
seed() {
  local target=$1 seeds=$OUT/seeds/$1 files text number=0
  rm -rf "$seeds" && mkdir -p "$seeds" "$OUT/corpus/$target"
  mapfile -t files < <(sources "$target" | tr ' ' '\n')
  if [ ${#files[@]} = 0 ]; then die "the parser of the target $target is not known here"; fi
  (cd "$ROOT/src" && LC_ALL=C grep -hoE '"([^"\\]|\\.)+"' "${files[@]}" | grep -v '\\u' | sort -u) >"$OUT/seeds/$target.strings"
  while IFS= read -r text; do
    text=${text#\"}
    printf '%b' "${text%\"}" >"$seeds/$((number += 1))"
  done <"$OUT/seeds/$target.strings"
  LC_ALL=C grep -xE '"[] !#-[^-~]{2,40}"' "$OUT/seeds/$target.strings" >"$OUT/seeds/$target.dict" || true
  case $target in list_*) cp "$ROOT"/tests/data/listings/*.txt "$seeds/" ;; esac
}

# fuzz TARGET: leaves its exit code beside its log.
fuzz() {
  local code=0
  "$BIN/$1" -max_total_time="$seconds" -seed=1 "${LIMITS[@]}" -dict="$OUT/seeds/$1.dict" -print_final_stats=1 -reload=0 \
    -artifact_prefix="$OUT/findings/$1-" "$OUT/corpus/$1" "$OUT/seeds/$1" >"$OUT/logs/$1" 2>&1 </dev/null || code=$?
  echo "$code" >"$OUT/logs/$1.code"
}

# report TARGET
report() {
  local code executions covered input
  code=$(cat "$OUT/logs/$1.code" 2>/dev/null || echo none)
  executions=$(awk '/^stat::number_of_executed_units:/ { print $2 }' "$OUT/logs/$1")
  covered=$(grep -o ' cov: [0-9]*' "$OUT/logs/$1" | tail -1 | tr -dc 0-9 || true)
  if [ "$code" = 0 ]; then
    printf '%-18s %12s executions %6s places covered\n' "$1" "$executions" "$covered"
    return 0
  fi
  printf '\n%s: FOUND (exit code %s), the end of %s:\n' "$1" "$code" "$OUT/logs/$1"
  grep -vE '^#[0-9]|^NEW_FUNC|^stat::' "$OUT/logs/$1" | tail -40
  for input in "$OUT/findings/$1"-*; do
    [ -f "$input" ] || continue
    printf '\nthe input, %s:\n' "$(basename "$input")"
    od -A d -t x1z "$input" | head -40
    printf 'again:  base64 -d >input <<<%s\n        %s input\n' "$(base64 -w 0 "$input")" "$BIN/$1"
  done
  return 1
}

ensure_build_tools
ensure_cxx
ensure_rust
cd "$ROOT/fuzz"
retry cargo fetch --quiet --locked || die "cannot download the libraries"
mapfile -t known < <(sed -n '/^\[\[bin\]\]/,$ s/^name = "\(.*\)"$/\1/p' Cargo.toml)
targets=("$@")
if [ ${#targets[@]} = 0 ]; then targets=("${known[@]}"); fi
for target in "${targets[@]}"; do
  case " ${known[*]} " in *" $target "*) ;; *) die "no target $target; there are: ${known[*]}" ;; esac
done

say "building the targets"
host=$(rustc -vV | sed -n 's/^host: //p')
BIN=$OUT/$host/release
# With --target, build scripts and macros are not instrumented.
RUSTFLAGS=${FLAGS//$'\n'/ } CARGO_TARGET_DIR=$OUT \
  cargo build --quiet --locked --release --target "$host" "${targets[@]/#/--bin=}"

rm -rf "$OUT/findings" "$OUT/logs"
mkdir -p "$OUT/findings" "$OUT/logs"
for target in "${targets[@]}"; do seed "$target"; done

say "fuzzing ${#targets[@]} targets for $seconds s each, $(nproc) at once"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
for target in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
  fuzz "$target" &
done
wait || true

failed=0
for target in "${targets[@]}"; do report "$target" || failed=$((failed + 1)); done
if [ "$failed" != 0 ]; then die "$failed of ${#targets[@]} targets found something"; fi
say "nothing found"
