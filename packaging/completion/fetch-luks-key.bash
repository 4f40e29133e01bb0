# bash completion for fetch-luks-key(1)

_fetch_luks_key_words() { mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2"); }

# Quotes names for the command line, and adds the slash to folders.
_fetch_luks_key_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$2")
}

# One by one: compgen -W would run what stands in the file as the shell does.
_fetch_luks_key_volumes() {
  local name rest
  while read -r name rest || [[ $name ]]; do
    [[ $name && $name != '#'* && $name == "$1"* ]] && COMPREPLY+=("$(printf %q "$name")")
  done 2>/dev/null </etc/crypttab
}

_fetch_luks_key() {
  local begun=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}
  local pins='--tpm2 --tpm2-pcrs --tpm2-public-key --tpm2-public-key-pcrs --tpm2-rollback-counter --tpm2-pin
    --tpm2-pin-file --remote --tang --require --site'
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    _fetch_luks_key_words 'handle seal open enroll adopt rotate reseal unenroll recovery-key backup credential import-credential journal request join leave site keepalive announce-reboot act check retire predict status doctor --help --version' "$begun"
    return
  fi
  case $before in
  --etc) _fetch_luks_key_files -d "$begun" && return ;;
  --crypttab | --socket | --device | --unlock-key-file | --passphrase-file | --tpm2-pin-file | --tpm2-old-pin-file | --tpm2-public-key) _fetch_luks_key_files -f "$begun" && return ;;
  --output) COMPREPLY=(-) && return ;;
  --with-key) _fetch_luks_key_words 'host tpm2 host+tpm2 auto' "$begun" && return ;;
  esac
  case $command:$begun in
  journal:-*) _fetch_luks_key_words '--interval --key-id --tpm2-pin-file --yes --json --etc --help' "$begun" ;;
  journal:*)
    case $COMP_CWORD$before in
    2*) _fetch_luks_key_words 'setup verify status' "$begun" ;;
    3setup) _fetch_luks_key_words 'tpm2 tang remote systemd-creds parsec sss' "$begun" ;;
    esac
    ;;
  handle:-*) _fetch_luks_key_words '--all --etc --crypttab --help' "$begun" ;;
  seal:-*) _fetch_luks_key_words '--credential --encrypted --tpm2-pin-file --yes --json --etc --help' "$begun" ;;
  credential:-*) _fetch_luks_key_words '--encrypted --shared --tpm2-pin-file --yes --json --etc --help' "$begun" ;;
  credential:*) ((COMP_CWORD > 2)) || _fetch_luks_key_words 'list install edit rotate' "$begun" ;;
  import-credential:-*)
    _fetch_luks_key_words '--name --credential --encrypted --back --with-key --tpm2-pcrs --not-after --tpm2-pin-file --yes
      --json --etc --help' "$begun"
    ;;
  import-credential:*) _fetch_luks_key_files -f "$begun" ;;
  seal:*) ((COMP_CWORD > 2)) || _fetch_luks_key_words 'tpm2 tang remote systemd-creds parsec sss' "$begun" ;;
  open:-*) _fetch_luks_key_words '--output --json --tpm2-pin-file --etc --help' "$begun" ;;
  open:*) _fetch_luks_key_files -f "$begun" ;;
  enroll:-*)
    _fetch_luks_key_words "$pins --device --unlock-key-file --file --no-crypttab
      --socket --yes --dry-run --json --etc --crypttab --help" "$begun"
    ;;
  adopt:-*)
    _fetch_luks_key_words "$pins --replace --unlock-key-file --socket --yes --dry-run
      --json --etc --crypttab --help" "$begun"
    ;;
  rotate:-*)
    _fetch_luks_key_words '--all --unlock-key-file --tpm2-pin-file --tpm2-old-pin-file --yes --json --etc --crypttab --help' "$begun"
    ;;
  reseal:-*)
    _fetch_luks_key_words "$pins --tpm2-old-pin-file --unlock-key-file --no-crypttab --yes --json
      --etc --crypttab --help" "$begun"
    ;;
  recovery-key:-*) _fetch_luks_key_words '--device --unlock-key-file --json --etc --crypttab --help' "$begun" ;;
  backup:-*) _fetch_luks_key_words '--device --passphrase-file --json --etc --crypttab --help' "$begun" ;;
  unenroll:-*) _fetch_luks_key_words '--unlock-key-file --json --etc --crypttab --help' "$begun" ;;
  status:-*) _fetch_luks_key_words '--probe --json --etc --crypttab --help' "$begun" ;;
  retire:-* | predict:-*) _fetch_luks_key_words '--json --etc --crypttab --help' "$begun" ;;
  enroll:* | adopt:* | rotate:* | reseal:* | retire:* | predict:* | unenroll:* | recovery-key:* | status:*)
    _fetch_luks_key_volumes "$begun"
    ;;
  backup:*)
    if ((COMP_CWORD == 2)); then _fetch_luks_key_volumes "$begun"; else _fetch_luks_key_files -f "$begun"; fi
    ;;
  request:-*) _fetch_luks_key_words '--socket --output --json --help' "$begun" ;;
  request:*) _fetch_luks_key_volumes "$begun" ;;
  join:-*) _fetch_luks_key_words '--name --rejoin --etc --json --help' "$begun" ;;
  leave:-*) _fetch_luks_key_words '--etc --help' "$begun" ;;
  site:-*)
    _fetch_luks_key_words '--url --need --lease --from --yes --unlock-key-file --socket --json --etc --crypttab --help' "$begun"
    ;;
  site:*) ((COMP_CWORD > 2)) || _fetch_luks_key_words 'init add remove reshare status' "$begun" ;;
  keepalive:-*) _fetch_luks_key_words '--etc --help' "$begun" ;;
  announce-reboot:-*) _fetch_luks_key_words '--etc --help' "$begun" ;;
  act:-*) _fetch_luks_key_words '--script --etc --crypttab --help' "$begun" ;;
  act:*) ((COMP_CWORD > 2)) || _fetch_luks_key_words 'locked revoked' "$begun" ;;
  check:-* | doctor:-*) _fetch_luks_key_words '--etc --crypttab --json --help' "$begun" ;;
  esac
}

complete -F _fetch_luks_key fetch-luks-key
