#!/bin/sh
# tvllm @VERSION@ for Linux on @MACHINE@ in one file: this script, then Deno @DENO_VERSION@ and tvllm, compressed.
# The first run unpacks them into the cache, using gzip and a few programs of coreutils or busybox.
set -eu

# PATH may be empty.
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin
started=''
case " $* " in *" bench "*) started=$(date +%s%N 2>/dev/null) || started='' ;; esac

@LAUNCH@

@DESCRIBE_HOST@

fail() {
  echo "error: $1" >&2
  exit 1
}

cannot_unpack() {
  # shellcheck disable=SC2086 # made one line
  fail "Cannot unpack tvllm into $place: $(set -f && echo $1); it needs @UNPACKED@ in a directory where files can be written and run: free some space, or set XDG_CACHE_HOME to another directory"
}

# Only complete, verified files are moved here; a system crash may still truncate them, so check their sizes.
is_unpacked() {
  sizes=$(cd "$place" 2>/dev/null && wc -c deno @FILES@ 2>/dev/null) || return 1
  case $sizes in *[!0-9]@BYTES@" total") ;; *) return 1 ;; esac
}

# Takes the lock, or returns 1 once another process has unpacked. If two processes take over the lock of a
# dead one at the same moment, both unpack, each into a directory of its own, which does no harm.
lock() {
  waited=0
  until mkdir "$place/lock" 2>/dev/null; do
    ! is_unpacked || return 1
    { read -r owner <"$place/lock/pid"; } 2>/dev/null || owner=''
    if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
      [ "$waited" -ne 5 ] || echo "Waiting for another process that is unpacking tvllm" >&2
    elif [ "$waited" -ge 20 ] || [ -n "$owner" ]; then
      rm -rf "$place/lock"
      mkdir "$place/lock" 2>/dev/null && break
      [ -d "$place/lock" ] || cannot_unpack "the directory is not writable"
    fi
    waited=$((waited + 1))
    sleep 0.1 2>/dev/null || sleep 1
  done
  echo $$ 2>/dev/null >"$place/lock/pid" || :
}

part_deno() {
  tail -c +@DENO_START@ "$0" | head -c @DENO_PACKED@
}

part_program() {
  tail -c +@PROGRAM_START@ "$0"
}

# extract PART SHA256
extract() {
  # The shell's own message about a killed gzip is dropped.
  if ! reason=$({ part_"$1" | gzip -dc 2>&1 >"$scratch/$1"; } 2>/dev/null); then
    ! part_"$1" | gzip -t 2>/dev/null || cannot_unpack "${reason:-files of this size are not allowed}"
  elif sum=$(sha256sum <"$scratch/$1") && [ "${sum%% *}" = "$2" ]; then
    return
  fi
  fail "Cannot unpack tvllm: $0 is damaged; download it again"
}

# Splits the program into its files: those that only a few commands need are not loaded by the
# others.
split_program() {
  while read -r file start bytes; do
    reason=$({ tail -c "+$start" "$scratch/program" | head -c "$bytes" 2>&1 >"$scratch/$file"; } 2>/dev/null) ||
      cannot_unpack "${reason:-files of this size are not allowed}"
  done <<'FILES'
@TABLE@
FILES
}

unpack() {
  for program in chmod gzip head mkdir mv rm sha256sum sleep tail wc; do
    command -v "$program" >/dev/null || fail "Cannot unpack tvllm: $program is missing; install coreutils or busybox, and gzip"
  done
  reason=$(mkdir -p "$place" 2>&1) || cannot_unpack "$reason"
  lock || return 0
  scratch=$place/part.$$
  trap 'rm -rf "$scratch" "$place/lock"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # The process we waited for may have unpacked; one that was killed leaves a partial directory
  # behind.
  if ! is_unpacked; then
    echo "Unpacking tvllm into $place, once" >&2
    rm -rf "$place"/part.*
    reason=$(mkdir "$scratch" 2>&1) || cannot_unpack "$reason"
    extract deno @DENO_SHA256@
    extract program @PROGRAM_SHA256@
    split_program
    chmod 755 "$scratch/deno"
    reason=$("$scratch/deno" --version 2>&1) || {
      case $reason in *"ermission denied"*) cannot_unpack "programs may not run there" ;; esac
      fail "Cannot run tvllm: this file is for Linux with glibc on @MACHINE@; its Deno does not start here: $reason"
    }
    (cd "$scratch" && mv -f deno @FILES@ "$place/")
  fi
  trap - EXIT HUP INT TERM
  rm -rf "$scratch" "$place/lock"
}

if [ -z "$tvllm_cache" ]; then
  # Services and containers may have no home directory.
  tvllm_cache=${TMPDIR:-/tmp}/tvllm-$(id -u)
  make_private "$tvllm_cache" ||
    fail "Cannot unpack tvllm into $tvllm_cache, which another user owns: set XDG_CACHE_HOME to a directory of yours"
fi
place=$tvllm_cache/@NAME@
is_unpacked || unpack

# It is not a checkout, so it may not start Deno, whatever this variable names.
unset DENO
grant "$@" <<'PERMISSIONS'
@PERMISSIONS@
PERMISSIONS
launched=''
[ "$command" != bench ] || launched=--launched=$(describe_host "$started" '' 2>/dev/null) || :
# Deno's own cache is in this directory too, so that removing it removes everything.
export DENO_DIR="$place/cache"
# shellcheck disable=SC2086 # $permissions is a list of flags
exec "$place/deno" run --no-config --no-lock --cached-only $permissions ${writable:+"--allow-write=$writable"} \
  "$place/main.js" ${launched:+"$launched"} "$@"
exit 1
