# shellcheck shell=sh
# Describes the machine for reports of bench, in lines of NAME=VALUE. Unknown values are left out or
# empty.

# $1: the time at the launcher's first line, in nanoseconds since 1970 if date supports them.
# $2: the directory of the checkout; empty in a built program.
describe_host() {
  # Workers can have their own permissions: the launchers start Deno with --unstable-worker-options.
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
    # Lines of the first processor only. On ARM it has no name, and the flags are called "Features".
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
