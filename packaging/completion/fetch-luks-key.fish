# fish completion for fetch-luks-key(1)

complete -c fetch-luks-key -f
complete -c fetch-luks-key -n __fish_use_subcommand -a handle -d 'answer one connection; started by systemd'
complete -c fetch-luks-key -n __fish_use_subcommand -a seal -d 'seal a secret from standard input'
complete -c fetch-luks-key -n __fish_use_subcommand -a open -d 'open a sealed key'
complete -c fetch-luks-key -n __fish_use_subcommand -a request -d 'ask the socket for a volume\'s key, as systemd does'
complete -c fetch-luks-key -n __fish_use_subcommand -a join -d 'join a key server, by its invitation from standard input'
complete -c fetch-luks-key -n __fish_use_subcommand -a leave -d 'forget a key server, and this machine\'s key for it'
complete -c fetch-luks-key -n __fish_use_subcommand -a keepalive -d 'keep this machine alive towards its servers; started by systemd'
complete -c fetch-luks-key -n __fish_use_subcommand -a act -d 'do what the configuration says of being locked or revoked; started by systemd'
complete -c fetch-luks-key -n __fish_use_subcommand -a check -d 'find everything that is wrong, before the reboot'
complete -c fetch-luks-key -n __fish_use_subcommand -s V -l version -d 'print the version'
complete -c fetch-luks-key -s h -l help -d 'explain, with an example'

complete -c fetch-luks-key -n 'not __fish_use_subcommand; and not __fish_seen_subcommand_from request' -l etc -x -a '(__fish_complete_directories)' -d 'folder of the configuration'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from handle act check' -l crypttab -r -F -d 'file in place of /etc/crypttab'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal' -a 'tpm2 tang remote sss' -d pin
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal' -s y -l yes -d 'trust a Tang server\'s keys without being asked'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from act' -a 'locked revoked' -d state
complete -c fetch-luks-key -n '__fish_seen_subcommand_from open' -F
complete -c fetch-luks-key -n '__fish_seen_subcommand_from request' -a '(awk \'!/^[ \t]*(#|$)/ { print $1 }\' /etc/crypttab 2>/dev/null)' -d volume
complete -c fetch-luks-key -n '__fish_seen_subcommand_from request' -l socket -r -F -d 'where to ask'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from open request' -l output -x -a - -d 'write the bytes themselves'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal open request join check' -l json -d 'print JSON'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from join' -l name -x -d 'what to call the server here'
