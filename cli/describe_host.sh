# shellcheck shell=sh
# Describes the machine for reports of bench, in lines of NAME=VALUE; what cannot be found is left out.

# $1: nanoseconds since 1970 at the launcher's first line, where date knows them.
# $2: the checkout that runs; empty in a program that is built.
describe_host() {
  # A worker may have permissions of its own: the launchers start Deno with --unstable-worker-options.
  echo workers=scoped
  case $1 in
    *[!0-9]* | '') ;;
    *) echo "started=$1" ;;
  esac
  if [ -n "$2" ] && changes=$(git -C "$2" status --porcelain --untracked-files=no); then
    [ -z "$changes" ] && echo tree=clean || echo tree=dirty
  fi
  echo "system=$(uname -srm || :)"
  if [ -r /proc/cpuinfo ]; then
    # The first processor's lines; ARM has no name for it, and "Features".
    sed -n \
      -e 's/^model name[[:space:]]*: */processor=/p' \
      -e 's/^flags[[:space:]]*: */flags=/p' \
      -e 's/^Features[[:space:]]*: */flags=/p' \
      -e '/^$/q' /proc/cpuinfo
    sed -n 's/^MemTotal: *\([0-9]*\) kB/memory=\1/p' /proc/meminfo 2>/dev/null || :
  elif command -v sysctl >/dev/null; then
    echo "processor=$(sysctl -n machdep.cpu.brand_string 2>/dev/null)"
    echo "flags=$(sysctl -n machdep.cpu.features machdep.cpu.leaf7_features 2>/dev/null | tr '\nA-Z' ' a-z')"
    bytes=$(sysctl -n hw.memsize 2>/dev/null) && echo "memory=$((bytes / 1024))"
  fi
}
