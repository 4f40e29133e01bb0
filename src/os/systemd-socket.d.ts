declare module 'systemd-socket' {
  /** The descriptor passed at `index`, null when LISTEN_FDS is not set. */
  export default function systemdSocket(index: number): { fd: number } | null;
}
