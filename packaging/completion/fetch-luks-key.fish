# fish completion for fetch-luks-key(1)

set -l none 'not __fish_seen_subcommand_from handle seal open request check'
complete -c fetch-luks-key -f
complete -c fetch-luks-key -n $none -a handle -d 'answer one connection; started by systemd'
complete -c fetch-luks-key -n $none -a seal -d 'seal a secret from standard input'
complete -c fetch-luks-key -n $none -a open -d 'open a sealed key'
complete -c fetch-luks-key -n $none -a request -d 'ask the socket for a volume\'s key, as systemd does'
complete -c fetch-luks-key -n $none -a check -d 'find everything that is wrong, before the reboot'
complete -c fetch-luks-key -n $none -l version -d 'print the version'
complete -c fetch-luks-key -s h -l help -d 'explain, with an example'

complete -c fetch-luks-key -n '__fish_seen_subcommand_from handle check' -l etc -x -a '(__fish_complete_directories)' -d 'folder of the configuration'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from handle check' -l crypttab -r -F -d 'file in place of /etc/crypttab'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal' -a 'tpm2 tang sss' -d pin
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal' -s y -l yes -d 'trust a Tang server\'s keys without being asked'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from open' -F
complete -c fetch-luks-key -n '__fish_seen_subcommand_from request' -a '(awk \'!/^[ \t]*(#|$)/ { print $1 }\' /etc/crypttab 2>/dev/null)' -d volume
complete -c fetch-luks-key -n '__fish_seen_subcommand_from request' -l socket -r -F -d 'where to ask'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from open request' -l output -x -a - -d 'write the bytes themselves'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal open request check' -l json -d 'print JSON'
