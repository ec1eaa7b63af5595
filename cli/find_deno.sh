# shellcheck shell=sh
# Finds Deno. tvllm, tests/run and .ci/run source this file after launch.sh, with $root set.

deno_npm=deno@2.9.6 # the version that the project is tested with

# shellcheck disable=SC2154 # root and tvllm_cache are set by the caller
# Sets DENO to a Deno that is new enough: from PATH, or from npm, which downloads it once.
find_deno() {
  DENO=$(command -v deno) && deno_is_new_enough "$DENO" && return
  remembered=${tvllm_cache:+$tvllm_cache/$deno_npm}
  if [ -x "$remembered" ]; then
    DENO=$remembered
    return
  fi
  if ! command -v npx >/dev/null; then
    echo "error: Cannot find Deno 2.9 or newer, nor npx to install it: install Deno (https://deno.com) or Node.js with npm (https://nodejs.org)" >&2
    exit 1
  fi
  echo "Downloading $deno_npm from npm, once" >&2
  give_npm_a_cache
  # npx must not read standard input (it may be the prompt), nor an .npmrc in the current directory.
  answer=$(
    cd "$root" && npm_config_update_notifier=false npm_config_loglevel=error \
      npx --yes --prefer-offline "$deno_npm" eval 'console.log(Deno.execPath())' 2>&1 </dev/null
  ) && DENO=$(printf '%s\n' "$answer" | tail -n 1) || DENO=''
  if [ ! -x "$DENO" ]; then
    printf '%s\n' "$answer" >&2
    case $answer in
      *EACCES* | *EROFS* | *EPERM* | *ENOSPC*) way="let npm write its cache (or set npm_config_cache to another directory)" ;;
      *) way="check the network" ;;
    esac
    echo "error: Cannot download $deno_npm from npm: $way, or install Deno 2.9 or newer (https://deno.com)" >&2
    exit 1
  fi
  # Other runs may create the same link: create it under another name, then rename it.
  if [ -n "$remembered" ] && mkdir -p "$tvllm_cache" 2>/dev/null; then
    { ln -s "$DENO" "$remembered.$$" && mv -f "$remembered.$$" "$remembered"; } 2>/dev/null || :
  fi
}

# npm hangs if it cannot create its cache, for example with HOME=/proc.
give_npm_a_cache() {
  npm_cache=${npm_config_cache:-${HOME:+$HOME/.npm}}
  [ -n "$npm_cache" ] || return 0
  ! { mkdir -p "$npm_cache" 2>/dev/null && [ -w "$npm_cache" ]; } || return 0
  npm_cache=${TMPDIR:-/tmp}/tvllm-npm-$(id -u 2>/dev/null || :)
  ! make_private "$npm_cache" || export npm_config_cache="$npm_cache"
}

deno_is_new_enough() {
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#deno }
  minor=${version#*.}
  [ "${version%%.*}" -gt 2 ] 2>/dev/null ||
    { [ "${version%%.*}" -eq 2 ] && [ "${minor%%.*}" -ge 9 ]; } 2>/dev/null
}
