/** The unit's name; it is to be enabled. */
export const NETWORK_UNIT = 'boot-test-network.service';

/** Stands for what brings the network up: it takes a while, and starts in the late boot, as such services do. */
export const networkFiles = {
  [`/etc/systemd/system/${NETWORK_UNIT}`]: {
    content: `[Unit]
Description=Network for this test
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sleep 2
[Install]
WantedBy=network-online.target
`,
  },
};
