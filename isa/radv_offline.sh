#!/bin/sh
# Runs a command with AMD's Vulkan driver and no GPU: its compiler builds every pipeline for a real
# chip and prints statistics; dispatches do nothing, so results are never right.
#   isa/radv_offline.sh CHIP COMMAND...
# Debian's packages (backports of bookworm) are unpacked into RADV_OFFLINE_DIR, never installed, as
# another Mesa would replace the software driver. Exit code 69: they are not available.
set -eu
chip=$1
shift
dir=${RADV_OFFLINE_DIR:?}
lib=$dir/root/usr/lib/x86_64-linux-gnu
if [ ! -f "$dir/radeon_icd.json" ]; then
  sources=/etc/apt/sources.list.d/debian.sources
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null || [ ! -f "$sources" ] ||
    [ "$(uname -m)" != x86_64 ]; then
    echo "Cannot get AMD's driver: this is not Debian 12 on x86-64" >&2
    exit 69
  fi
  mkdir -p "$dir/lists/partial" "$dir/debs" "$dir/root"
  uri=$(sed -n 's/^URIs: *//p' "$sources" | head -n 1)
  for suite in bookworm-backports bookworm; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main"
  done >"$dir/sources.list"
  apt() {
    apt-get -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=- \
      -o Dir::State::Lists="$dir/lists" -o APT::Sandbox::User=root -qq "$@" >&2
  }
  if ! apt update || ! (cd "$dir/debs" && apt download mesa-vulkan-drivers/bookworm-backports \
    mesa-drm-shim/bookworm-backports libdrm2/bookworm-backports libdrm-amdgpu1/bookworm-backports); then
    echo "Cannot get AMD's driver: its packages cannot be downloaded" >&2
    exit 69
  fi
  for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/root"; done
  printf '{"ICD":{"api_version":"1.4.305","library_path":"%s/libvulkan_radeon.so"},"file_format_version":"1.0.0"}\n' \
    "$lib" >"$dir/radeon_icd.json"
fi
export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_PRELOAD="$lib/libamdgpu_noop_drm_shim.so" AMDGPU_GPU_ID="$chip"
export VK_DRIVER_FILES="$dir/radeon_icd.json" VK_ICD_FILENAMES="$dir/radeon_icd.json"
export RADV_DEBUG=asm,shaderstats,nocache DENO_WEBGPU_BACKEND=vulkan
exec "$@"
