# shellcheck shell=sh
# Finds Deno for tvllm, tests/run and .ci/run, which source this file after launch.sh, with $root set.

deno_npm=deno@2.9.6 # the version that the project is tested with

# shellcheck disable=SC2154 # root and tvllm_cache are set by the caller
# Sets DENO to a Deno that is new enough: from PATH, or from npm, which is asked once.
find_deno() {
  DENO=$(command -v deno) && deno_is_new_enough "$DENO" && return
  remembered=${tvllm_cache:+$tvllm_cache/$deno_npm}
  if [ -x "$remembered" ]; then
    DENO=$remembered
    return
  fi
  if ! command -v npx >/dev/null; then
    echo "error: Cannot find Deno 2.9 or newer, nor npx to get it: install Deno (https://deno.com) or Node.js with npm (https://nodejs.org)" >&2
    exit 1
  fi
  echo "Getting $deno_npm from npm, once" >&2
  # npx must neither eat the prompt on standard input nor obey an .npmrc of the current directory.
  answer=$(
    cd "$root" && npm_config_update_notifier=false npm_config_loglevel=error \
      npx --yes --prefer-offline "$deno_npm" eval 'console.log(Deno.execPath())' 2>&1 </dev/null
  ) && DENO=$(printf '%s\n' "$answer" | tail -n 1) || DENO=''
  if [ ! -x "$DENO" ]; then
    printf '%s\n' "$answer" >&2
    echo "error: Cannot get $deno_npm from npm: check the network, or install Deno 2.9 or newer (https://deno.com)" >&2
    exit 1
  fi
  # A link that other runs may be making too: made aside, then moved into place.
  if [ -n "$remembered" ] && mkdir -p "$tvllm_cache" 2>/dev/null; then
    { ln -s "$DENO" "$remembered.$$" && mv -f "$remembered.$$" "$remembered"; } 2>/dev/null || :
  fi
}

deno_is_new_enough() {
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#deno }
  minor=${version#*.}
  [ "${version%%.*}" -gt 2 ] 2>/dev/null ||
    { [ "${version%%.*}" -eq 2 ] && [ "${minor%%.*}" -ge 9 ]; } 2>/dev/null
}
