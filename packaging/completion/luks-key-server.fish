# fish completion for luks-key-server(1)

function __luks_key_server_machines
    luks-key-server list --json 2>/dev/null | string match -r -a -g '"name":"([^"]*)"'
end

complete -c luks-key-server -f
complete -c luks-key-server -n __fish_use_subcommand -a serve -d 'run the server; started by systemd'
complete -c luks-key-server -n __fish_use_subcommand -a invite -d 'let a machine join'
complete -c luks-key-server -n __fish_use_subcommand -a list -d 'every machine'
complete -c luks-key-server -n __fish_use_subcommand -a show -d 'one machine'
complete -c luks-key-server -n __fish_use_subcommand -a lock -d 'release nothing to a machine until it is allowed'
complete -c luks-key-server -n __fish_use_subcommand -a allow -d 'arm a locked machine again'
complete -c luks-key-server -n __fish_use_subcommand -a revoke -d 'destroy the keys of a machine, for ever'
complete -c luks-key-server -n __fish_use_subcommand -a policy -d 'change the rules for a machine that has joined'
complete -c luks-key-server -n __fish_use_subcommand -a undelete -d 'bring back a key that a machine has deleted'
complete -c luks-key-server -n __fish_use_subcommand -a expect -d 'expect a machine to boot'
complete -c luks-key-server -n __fish_use_subcommand -a approve -d 'approve one request that waits'
complete -c luks-key-server -n __fish_use_subcommand -a deny -d 'deny one request that waits'
complete -c luks-key-server -n __fish_use_subcommand -a audit -d 'show, verify or export the audit log'
complete -c luks-key-server -n __fish_use_subcommand -a watch -d 'what is recorded, as it happens'
complete -c luks-key-server -n __fish_use_subcommand -a backup -d 'all that the server knows, in one encrypted file'
complete -c luks-key-server -n __fish_use_subcommand -a restore -d 'make a server of a backup'
complete -c luks-key-server -n __fish_use_subcommand -a master -d 'another master key for all that the store holds'
complete -c luks-key-server -n __fish_use_subcommand -a identity -d 'the server’s own key; another one for it'
complete -c luks-key-server -n __fish_use_subcommand -a doctor -d 'what is wrong with the server, or soon will be'
complete -c luks-key-server -n __fish_use_subcommand -s V -l version -d 'print the version'
complete -c luks-key-server -s h -l help -d 'explain, with an example'

complete -c luks-key-server -n 'not __fish_use_subcommand; and not __fish_seen_subcommand_from restore' -l socket -r -F -d 'operator socket'
complete -c luks-key-server -n 'not __fish_use_subcommand; and not __fish_seen_subcommand_from serve' -l json -d 'print JSON'
complete -c luks-key-server -n '__fish_seen_subcommand_from show lock allow revoke policy undelete expect approve deny' -a '(__luks_key_server_machines)' -d machine
complete -c luks-key-server -n '__fish_seen_subcommand_from serve restore' -l config -r -F -d configuration
complete -c luks-key-server -n '__fish_seen_subcommand_from serve restore' -l state -x -a '(__fish_complete_directories)' -d 'folder of its files'
complete -c luks-key-server -n '__fish_seen_subcommand_from serve restore' -l store -r -F -d 'SQLite file, or file:PATH'
complete -c luks-key-server -n '__fish_seen_subcommand_from serve' -l listen -x -d 'where machines connect'
complete -c luks-key-server -n '__fish_seen_subcommand_from serve' -l identity -r -F -d 'PEM of key and certificate'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite' -l url -x -d 'where machines reach this server'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite' -l tang -d 'for stock Clevis'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite policy' -l lease -x -d 'armed for so long'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite policy' -l boot-grace -x -d 'first keep-alive within'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite policy' -l late-keepalive -x -a 'rearm lock' -d 'after the lease'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite policy' -l self-expect -x -a 'reboot never' -d 'own reboots'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite policy' -l approval -x -a 'auto manual' -d 'of each release'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite policy' -l from -x -d 'where it may ask from'
complete -c luks-key-server -n '__fish_seen_subcommand_from invite' -l rejoin -d 'a new key for a machine that is known'
complete -c luks-key-server -n '__fish_seen_subcommand_from allow' -l fingerprint -x -d 'of the machine\'s key'
complete -c luks-key-server -n '__fish_seen_subcommand_from revoke' -s y -l yes -d 'do not ask for the name again'
complete -c luks-key-server -n '__fish_seen_subcommand_from expect' -l within -x -d 'how long from now'
complete -c luks-key-server -n '__fish_seen_subcommand_from expect' -l boots -x -d 'how many'
complete -c luks-key-server -n '__fish_seen_subcommand_from audit' -a 'show verify export'
complete -c luks-key-server -n '__fish_seen_subcommand_from audit' -l witness -r -F -d 'heads that somebody else kept'
complete -c luks-key-server -n '__fish_seen_subcommand_from backup restore' -l passphrase-file -r -F -d 'the backup\'s passphrase'
complete -c luks-key-server -n '__fish_seen_subcommand_from restore' -F
complete -c luks-key-server -n '__fish_seen_subcommand_from master' -a rotate
complete -c luks-key-server -n '__fish_seen_subcommand_from identity' -a 'show rotate'
complete -c luks-key-server -n '__fish_seen_subcommand_from identity' -l now -d 'do not wait for machines'
