# bash completion of tvllm; needs the package bash-completion.
__tvllm_complete() {
  local cur words cword out line IFS=$'\n'
  _get_comp_words_by_ref -n "=:" cur words cword
  # The words up to the cursor, as they were typed. Substitutions in them are not expanded.
  out=$(tvllm complete -- "${words[@]:1:cword}" 2>/dev/null) || return
  local directive=${out##*:}
  local value=${cur#-*=}
  # 2: no space after the word, as it may continue; 4: do not complete file names.
  ((directive & 2)) && compopt -o nospace
  ((directive & 4)) && compopt +o default
  COMPREPLY=()
  while read -r line; do
    line=${line%%$'\t'*}
    [[ $line == "$value"* ]] && COMPREPLY+=("$line")
  done <<<"${out%:*}"
  __ltrim_colon_completions "$value"
}
complete -o default -F __tvllm_complete tvllm
