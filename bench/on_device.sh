#!/bin/sh
# Makes the first measurements on a machine with a GPU, within eight minutes:
#   bench/on_device.sh --prepare   here: collects what the other machine lacks in .cache/on_device
#   bench/on_device.sh DIRECTORY   there: writes reports on kernels and models to a new directory
# The other machine needs this checkout, with .cache/on_device in it (at most 64 MiB), and a Vulkan
# driver. Options: --seconds N (default 480) limits the run; --models LIST, separated by commas,
# replaces the three models below; --any also measures a software adapter.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
carried=$root/.cache/on_device

fail() {
  echo "error: $1" >&2
  exit "$2"
}

prepare() {
  set -e
  machine=$(uname -m)
  "$root/tvllm" task standalone --target "$machine-unknown-linux-gnu"
  mkdir -p "$carried"
  cp "$root/dist/tvllm-standalone-$machine-unknown-linux-gnu" "$carried/tvllm"
  # Only the loader: the driver belongs to the GPU and is already there.
  loader=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | sed -n 's/.*libvulkan\.so\.1 .*=> //p' | head -n 1)
  [ -n "$loader" ] || fail "No Vulkan loader found to copy: install libvulkan1" 1
  cp -L "$loader" "$carried/libvulkan.so.1"
  du -k "$carried"/* | while read -r kilobytes file; do
    echo "$((kilobytes / 1024)) MiB ${file#"$root/"}"
  done
}

seconds=480
models=synth:tinyllama-1.1b:Q4_0,synth:qwen3-0.6b:Q8_0,synth:qwen2.5-1.5b:F16
directory=
any=false
while [ $# -gt 0 ]; do
  case $1 in
    --prepare)
      prepare
      exit
      ;;
    --any) any=true ;;
    --seconds | --models)
      [ $# -gt 1 ] || fail "$1 needs a value" 2
      [ "$1" = --models ] && models=$2 || seconds=$2
      shift
      ;;
    -*) fail "Unknown option $1: the options are --prepare, --any, --seconds N and --models LIST" 2 ;;
    *) directory=$1 ;;
  esac
  shift
done
[ -n "$directory" ] || fail "No directory given: bench/on_device.sh DIRECTORY" 2
mkdir -p "$directory" || exit 1

tvllm=$root/tvllm
if [ -x "$carried/tvllm" ]; then
  tvllm=$carried/tvllm
  # The system's loader comes first, as it is as new as the driver.
  system=/usr/lib:/usr/lib64:/usr/lib/$(uname -m)-linux-gnu
  export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}${LD_LIBRARY_PATH:+:}$system:$carried"
fi
started=$(date +%s)
left() { echo $((seconds - $(date +%s) + started)); }

# step NAME SECONDS ARGUMENT…: runs tvllm for at most SECONDS, and records how it ended.
step() {
  name=$1
  most=$2
  shift 2
  [ "$(left)" -ge "$most" ] || most=$(left)
  if [ "$most" -le 5 ]; then
    echo "- $name: not run: the time was up" >>"$directory/summary.md"
    return 1
  fi
  before=$(date +%s)
  code=0
  timeout --signal INT --kill-after 10 "$most" "$tvllm" "$@" \
    >"$directory/$name.out" 2>"$directory/$name.err" || code=$?
  echo "- $name: exit code $code, $(($(date +%s) - before)) s: \`tvllm $*\`" >>"$directory/summary.md"
  tail -n 1 "$directory/summary.md"
  return "$code"
}

{
  echo "# On the device"
  echo
  uname -srm
  command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
  echo
} >"$directory/summary.md"

step devices 30 devices --json
adapter=$(sed -n 's/.*"adapter":{"description":"\([^"]*\)".*"driver":"\([a-z]*\)".*/\2: \1/p' "$directory/devices.out")
case $adapter in
  hardware:*) ;;
  '') fail "There is no WebGPU adapter: is a Vulkan driver installed (vulkaninfo --summary)? See $directory/devices.err" 5 ;;
  *) $any || fail "No hardware adapter, only $adapter: is the GPU's Vulkan driver installed? Use --any to measure it anyway" 5 ;;
esac
echo "$adapter"

failed=0
step check 120 devices --check || failed=1
# Tune before measuring, so that the reports use the tuned kernels; they say so.
step tune 90 tune -m "${models%%,*}" --json || failed=1
for suite in breakdown latency throughput; do
  for model in $(echo "$models" | tr , ' '); do
    name=$suite-$(echo "$model" | tr -c 'a-zA-Z0-9.\n' -)
    step "$name" 90 bench "$suite" --device gpu -m "$model" -p 128 -n 64 -r 3 --warmup 1 \
      --contexts 128,512 --output "$directory/$name.md" --json "$directory/$name.json" || failed=1
  done
done
echo "The reports are in $directory, an overview in summary.md; $(($(date +%s) - started)) s"
exit "$failed"
