# shellcheck shell=sh
# Finds the permissions and directories with which tvllm starts. The launcher of a checkout and the
# standalone program share these functions; cli/permissions.mjs does the same for Node.js.

# The directory of files kept between runs; empty if there is no home directory.
tvllm_cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
tvllm_cache=${tvllm_cache:+$tvllm_cache/tvllm}

# Reads permissions.txt from standard input. From tvllm's arguments it sets $permissions (a list of
# Deno's flags), $writable (the only directories that may be written, or empty), $starts_deno (yes if
# the command may start Deno, or empty) and $runnable (the only program that may be started, or
# empty). It exports TVLLM_CACHE, TVLLM_DATA and the variables of the rows "env".
grant() {
  # The command: the first argument that is neither an option nor the value of one.
  command='' previous=''
  for argument; do
    if [ "$previous" != --color ]; then
      case $argument in
        -*) ;;
        *)
          command=$argument
          break
          ;;
      esac
    fi
    previous=$argument
  done

  TVLLM_CACHE=${TVLLM_CACHE:-${HF_HUB_CACHE:-${HF_HOME:+$HF_HOME/hub}}}
  cache_home=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
  TVLLM_CACHE=${TVLLM_CACHE:-${cache_home:+$cache_home/huggingface/hub}}
  data_home=${XDG_DATA_HOME:-${HOME:+$HOME/.local/share}}
  TVLLM_DATA=${TVLLM_DATA:-${data_home:+$data_home/tvllm}}
  export TVLLM_CACHE TVLLM_DATA

  net='' write='' variables='' starts_deno='' opens=yes
  words="$command ${TVLLM_MODEL:-} $*"
  while read -r name row_net row_write row_variables row_model row_run; do
    case $name in
      '#'* | '') continue ;;
      env)
        eval "export $row_net=\"\${$row_net:-\$row_write}\""
        continue
        ;;
      *: | */)
        # The word may be part of a prompt. main.ts parses the arguments and drops what was granted
        # for it.
        case $opens$words in yes*[\ =m]"$name"*) ;; *) continue ;; esac
        ;;
      "$command"+*)
        case " $* " in *" ${name#*+} "* | *" ${name#*+}="*) ;; *) continue ;; esac
        ;;
      *+*) continue ;;
      '*' | "$command") ;;
      *) continue ;;
    esac
    [ "$row_model" != no ] || opens=''
    [ "$row_net" = - ] || net=yes
    case "$row_write $write " in -* | *" $row_write "*) ;; *) write="$write $row_write" ;; esac
    # Without $DENO, tvllm is not a checkout, and may start nothing.
    [ "$row_run" = - ] || starts_deno=${DENO:+yes}
    [ "$row_variables" = - ] || variables=${variables:+$variables,}$row_variables
  done

  # Deno.serve aborts a request's signal when its client disconnects; without the first flag, also
  # after a complete response. With the second flag, the worker that writes reports can keep write
  # access.
  # --ignore-env: other variables read as unset, so that libraries that look for them do not fail.
  permissions="--unstable-no-legacy-abort --unstable-worker-options --no-prompt --allow-read --ignore-env --allow-env=$variables" writable=''
  # Not limited to the hub: it serves files from other hosts, whose names change.
  [ -z "$net" ] || permissions="$permissions --allow-net"
  # shellcheck disable=SC2034 # the sourcing script uses $writable
  for kind in $write; do
    case $kind in
      cache) directory=$TVLLM_CACHE ;;
      data) directory=$TVLLM_DATA ;;
      *) directory=, ;;
    esac
    # Deno splits lists of paths at commas, so a path with a comma cannot be granted alone.
    case $directory in
      '') ;;
      *,*)
        permissions="$permissions --allow-write" writable=''
        break
        ;;
      *) writable=${writable:+$writable,}$directory ;;
    esac
  done
  # shellcheck disable=SC2034 # the sourcing script uses $runnable
  runnable=${starts_deno:+$DENO}
  case $runnable in *,*) permissions="$permissions --allow-run" runnable='' ;; esac
}

# Creates a directory where others can write, too; fails if it belongs to another user.
make_private() {
  mkdir -m 700 "$1" 2>/dev/null || :
  # shellcheck disable=SC3067 # dash, bash, busybox, ksh and zsh support -O
  [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]
}
