# bash completion for fetch-luks-key(1)

_fetch_luks_key() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}
  local IFS=$'\n'
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W $'handle\nseal\nopen\nrequest\ncheck\n--help\n--version' -- "$cur"))
    return
  fi
  case $prev in
  --etc)
    COMPREPLY=($(compgen -d -- "$cur"))
    return
    ;;
  --crypttab | --socket)
    COMPREPLY=($(compgen -f -- "$cur"))
    return
    ;;
  --output)
    COMPREPLY=(-)
    return
    ;;
  esac
  case $command:$cur in
  handle:-*) COMPREPLY=($(compgen -W $'--etc\n--crypttab\n--help' -- "$cur")) ;;
  seal:-*) COMPREPLY=($(compgen -W $'--yes\n--json\n--help' -- "$cur")) ;;
  seal:*) ((COMP_CWORD == 2)) && COMPREPLY=($(compgen -W $'tpm2\ntang\nsss' -- "$cur")) ;;
  open:-*) COMPREPLY=($(compgen -W $'--output\n--json\n--help' -- "$cur")) ;;
  open:*) COMPREPLY=($(compgen -f -- "$cur")) ;;
  request:-*) COMPREPLY=($(compgen -W $'--socket\n--output\n--json\n--help' -- "$cur")) ;;
  request:*) COMPREPLY=($(compgen -W "$(awk '!/^[ \t]*(#|$)/ { print $1 }' /etc/crypttab 2>/dev/null)" -- "$cur")) ;;
  check:-*) COMPREPLY=($(compgen -W $'--etc\n--crypttab\n--json\n--help' -- "$cur")) ;;
  esac
}

complete -o filenames -F _fetch_luks_key fetch-luks-key
