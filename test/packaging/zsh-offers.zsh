# What zsh offers at the end of a command line, one a line.
# zsh -f zsh-offers.zsh FOLDER-OF-COMPLETIONS COMMAND-LINE
#
# Only an interactive shell completes: one runs on a terminal of its own, and tells what it would add (zshcompwid(1)).

zmodload zsh/zpty

offers=$(mktemp)
trap 'rm -f $offers' EXIT

inner='
PROMPT= fpath=('${(q)1}' $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
  local -a hits
  # With these it only sorts out, for the function that called it.
  if [[ ${@[1,(i)(-|--)]} = *-[OAD]* ]]; then builtin compadd "$@"; return; fi
  builtin compadd -O hits "$@"
  (( $#hits )) && print -rl -- $hits >>'$offers'
  builtin compadd "$@"
}
tell() { print -r -- "=done=" >>'$offers' }
comppostfuncs=(tell)
bindkey "^I" complete-word
print ready
'
zpty shell zsh -f -i
zpty -w shell "eval ${(qqqq)inner}"
zpty -r shell line '*ready*'
zpty -n -w shell "$2"$'\t'
# For half a minute, as the machine may be busy.
repeat 600; do
  zpty -rt shell line
  if [[ $(<$offers) = *=done=* ]]; then
    grep -vx '=done=' $offers
    exit 0
  fi
  sleep 0.05
done
print -u2 "zsh did not complete: $2"
exit 1
