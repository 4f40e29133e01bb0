# bash completion for luks-key-server(1)

_luks_key_server_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2"); }

# One by one: compgen -W would run what stands in a name as the shell does.
_luks_key_server_machines() {
  local name
  while read -r name; do
    [[ $name == "$1"* ]] && COMPREPLY+=("$name")
  done < <(luks-key-server list --json 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d '"' -f 4)
}

_luks_key_server() {
  local begun=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    _luks_key_server_words 'serve invite list show lock allow revoke policy undelete expect approve deny audit watch backup restore
      master identity doctor --help --version' "$begun"
    return
  fi
  case $before in
  --state) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$begun"); return ;;
  --config | --identity | --socket | --witness | --passphrase-file | restore)
    if [[ $begun != -* ]]; then
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$begun")
      return
    fi
    ;;
  --late-keepalive) _luks_key_server_words 'rearm lock' "$begun"; return ;;
  --self-expect) _luks_key_server_words 'reboot never' "$begun"; return ;;
  --approval) _luks_key_server_words 'auto manual' "$begun"; return ;;
  esac
  case $command:$begun in
  serve:-*) _luks_key_server_words '--config --listen --state --store --socket --identity --help' "$begun" ;;
  invite:-*)
    _luks_key_server_words '--url --tang --lease --boot-grace --late-keepalive --self-expect --approval --from
      --rejoin --socket --json --help' "$begun"
    ;;
  allow:-*) _luks_key_server_words '--fingerprint --socket --json --help' "$begun" ;;
  revoke:-*) _luks_key_server_words '--yes --socket --json --help' "$begun" ;;
  policy:-*)
    _luks_key_server_words '--lease --boot-grace --late-keepalive --self-expect --approval --from --socket --json
      --help' "$begun"
    ;;
  expect:-*) _luks_key_server_words '--within --boots --socket --json --help' "$begun" ;;
  audit:-*) _luks_key_server_words '--witness --socket --json --help' "$begun" ;;
  backup:-*) _luks_key_server_words '--passphrase-file --socket --json --help' "$begun" ;;
  restore:-*) _luks_key_server_words '--config --state --store --passphrase-file --json --help' "$begun" ;;
  identity:-*) _luks_key_server_words '--now --socket --json --help' "$begun" ;;
  list:-* | show:-* | lock:-* | undelete:-* | approve:-* | deny:-* | watch:-* | master:-* | doctor:-*)
    _luks_key_server_words '--socket --json --help' "$begun"
    ;;
  audit:*) ((COMP_CWORD > 2)) || _luks_key_server_words 'show verify export' "$begun" ;;
  identity:*) ((COMP_CWORD > 2)) || _luks_key_server_words 'show rotate' "$begun" ;;
  master:*) ((COMP_CWORD > 2)) || _luks_key_server_words 'rotate' "$begun" ;;
  show:* | lock:* | allow:* | revoke:* | policy:* | undelete:* | expect:* | approve:* | deny:*)
    ((COMP_CWORD > 2)) || _luks_key_server_machines "$begun"
    ;;
  esac
}

complete -F _luks_key_server luks-key-server
