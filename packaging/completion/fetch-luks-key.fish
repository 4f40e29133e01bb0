# fish completion for fetch-luks-key(1)

complete -c fetch-luks-key -f
complete -c fetch-luks-key -n __fish_use_subcommand -a handle -d 'answer one connection; started by systemd'
complete -c fetch-luks-key -n __fish_use_subcommand -a seal -d 'seal a secret from standard input'
complete -c fetch-luks-key -n __fish_use_subcommand -a open -d 'open a sealed key'
complete -c fetch-luks-key -n __fish_use_subcommand -a enroll -d 'make a volume open by itself'
complete -c fetch-luks-key -n __fish_use_subcommand -a rotate -d 'a new key for a volume, and the old one is wiped'
complete -c fetch-luks-key -n __fish_use_subcommand -a reseal -d 'seal a volume\'s key anew'
complete -c fetch-luks-key -n __fish_use_subcommand -a unenroll -d 'undo enroll'
complete -c fetch-luks-key -n __fish_use_subcommand -a recovery-key -d 'a key to write down'
complete -c fetch-luks-key -n __fish_use_subcommand -a request -d 'ask the socket for a volume\'s key, as systemd does'
complete -c fetch-luks-key -n __fish_use_subcommand -a join -d 'join a key server, by its invitation from standard input'
complete -c fetch-luks-key -n __fish_use_subcommand -a leave -d 'forget a key server, and this machine\'s key for it'
complete -c fetch-luks-key -n __fish_use_subcommand -a keepalive -d 'keep this machine alive towards its servers; started by systemd'
complete -c fetch-luks-key -n __fish_use_subcommand -a announce-reboot -d 'tell the servers of a reboot that is under way; started by systemd'
complete -c fetch-luks-key -n __fish_use_subcommand -a act -d 'do what the configuration says of being locked or revoked; started by systemd'
complete -c fetch-luks-key -n __fish_use_subcommand -a check -d 'find everything that is wrong, before the reboot'
complete -c fetch-luks-key -n __fish_use_subcommand -a predict -d 'which PCRs changed since sealing, and why'
complete -c fetch-luks-key -n __fish_use_subcommand -s V -l version -d 'print the version'
complete -c fetch-luks-key -s h -l help -d 'explain, with an example'

complete -c fetch-luks-key -n 'not __fish_use_subcommand; and not __fish_seen_subcommand_from request' -l etc -x -a '(__fish_complete_directories)' -d 'folder of the configuration'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from handle act check predict enroll rotate reseal unenroll recovery-key' -l crypttab -r -F -d 'file in place of /etc/crypttab'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal' -a 'tpm2 tang remote systemd-creds sss' -d pin
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal enroll rotate reseal' -s y -l yes -d 'trust a Tang server\'s keys without being asked'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from act' -a 'locked revoked' -d state
complete -c fetch-luks-key -n '__fish_seen_subcommand_from open' -F
complete -c fetch-luks-key -n '__fish_seen_subcommand_from request predict enroll rotate reseal unenroll recovery-key' -a '(awk \'!/^[ \t]*(#|$)/ { print $1 }\' /etc/crypttab 2>/dev/null)' -d volume
complete -c fetch-luks-key -n '__fish_seen_subcommand_from request enroll' -l socket -r -F -d 'where to ask'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from open request' -l output -x -a - -d 'write the bytes themselves'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from seal open request join check predict enroll rotate reseal unenroll recovery-key' -l json -d 'print JSON'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from join' -l name -x -d 'what to call the server here'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll reseal' -l tpm2 -d 'the TPM'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll reseal' -l remote -x -d 'a key server'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll reseal' -l tang -x -d 'a Tang server'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll reseal' -l require -x -d 'how many of them'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll reseal' -l no-crypttab -d 'leave crypttab as it is'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll rotate reseal unenroll recovery-key' -l unlock-key-file -r -F -d 'what opens the volume now'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll recovery-key' -l device -r -F -d 'device or image'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll' -l file -d 'keep the sealed key in a file'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from enroll' -l dry-run -d 'print what would be done'
complete -c fetch-luks-key -n '__fish_seen_subcommand_from rotate' -l all -d 'every volume that was enrolled'
