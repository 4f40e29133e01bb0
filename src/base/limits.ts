/** All limits but luks-key-server's: the unit is in the name, the reason beside it. */
export const limits = {
  /** A sealed key as text: a service's secret of 1 MiB in base64, and a header. */
  sealedKeyBytes: 1792 * 1024,
  /** A protected header's JSON: sixteen Tang advertisements nested three deep come to less. */
  headerBytes: 192 * 1024,
  /** `sss` inside `sss` inside …: nobody needs more, a hostile header could. */
  pinDepth: 4,
  /** Pins of one sealed key that go to the network: more would make the machine a tool for flooding others. */
  networkPins: 16,
  /** Pins of one sealed key in all. */
  pins: 32,
  /** Fits into a socket's buffer, so that a key is written whole or not at all; key files are at most a few KiB. */
  keyBytes: 64 * 1024,
  /** Body of a `url:` answer unless `max-size` says otherwise: LUKS key files are at most a few KiB. */
  urlBodyBytes: 8 * 1024,
  /** Tang's answers are a few hundred bytes, its advertisement a few KiB. */
  tangBodyBytes: 64 * 1024,
  /** Keys of one advertisement, and signatures: each pair can cost a verification of 3 ms. */
  tangKeys: 32,
  /** A URL in a sealed key: it comes back in every line about it. */
  urlBytes: 1024,
  /** One HTTP exchange: a server that takes longer is asked again. */
  httpTimeoutMs: 10_000,
  /** A key, a certificate and what leads to its authority, encrypted. */
  identityBytes: 64 * 1024,
  /** One action of `on-locked:` or `on-revoked:`: suspending waits for what is being written. */
  actionTimeoutMs: 60_000,
  /** A machine's report to its server, before it acts: the data's safety does not wait for the record of it. */
  reportMs: 3_000,
  /** An order to act that nobody has taken by then is told as such: systemd takes it at once. */
  orderTakenMs: 10_000,
  /** What becomes of an order is looked for so often, */
  outcomeLookMs: 500,
  /** for so long: several actions, each with its own limit, */
  actionsMs: 10 * 60_000,
  /** and reported so often at most, half a minute in all: the report before has left. */
  outcomeReports: 5,
  /** A head of the audit log may be older than the last one, as processes of one server sign each for itself. */
  auditHeadLagMs: 60_000,
  /** Of the journal, 12 KiB in UTF-8 at most: ours have some hundreds, unless somebody else wrote them. */
  journalLineChars: 4096,
  /** So often it is asked at least what leads to a later head: an outage takes one or two of these with it. */
  auditHeadTries: 4,
  /** setTimeout takes no more. */
  longestTimerMs: 2 ** 31 - 1,
  /** Of a PIN, before a handler gives up: a TPM locks itself after some more. */
  pinTries: 3,
  /** Digests of audit records in one answer: 46 KiB. */
  auditDigestsPage: 1000,
  /** Heads of one server's audit log that are kept: one for each of the last 30 days, and the last one. */
  auditHeadsKept: 31,
  /** The file with them: a head takes 300 bytes. */
  auditHeadsBytes: 32 * 1024,
  /** What is known of a server's keys: 300 bytes for each that it had. */
  serverKeysBytes: 64 * 1024,
  /** An announcement before a reboot: it never holds the reboot up for longer. */
  announceMs: 8_000,
  /** What systemd has to do: a line for each unit of a machine that goes down. */
  jobListBytes: 1024 * 1024,
  /** From the announcement until the next boot asks: what the server grants at most. */
  announcedRebootMs: 600_000,
  /** A watch stream without a word: the server sends a comment every 30 s. */
  watchSilenceMs: 90_000,
  /** All that `status` and `doctor` ask of one key server: whoever waits for it is a person. */
  serverStatusMs: 5_000,
  /** Making journald's keys, or new files: two primes of 768 bits, and what is not yet on the disk. */
  journalKeysMs: 120_000,
  /** journalctl reads all of the journal: 4 GiB at most unless journald.conf says otherwise. */
  journalVerifyMs: 3_600_000,
  /** What it says: two lines for each file, of which there are 100 at most. */
  journalVerifyBytes: 1024 * 1024,
  /** A clock that shows less is wrong: 1 January 2026, when this program was written. Unix time. */
  earliestWallClockMs: 1_767_225_600_000,
  /** One that shows more is wrong too: 1 January 2046. */
  latestWallClockMs: 2_398_377_600_000,
  /** Lines of the journal that are looked at for a volume: a year of boots with eight volumes. */
  journalLines: 3_000,
  /** What `luks-key-server invite` prints. */
  invitationLineBytes: 1024,
  /** What goes round while a site's hosts join each other: a line from each of 17 for each other. */
  siteBundleBytes: 128 * 1024,
  /** config.yaml, crypttab. */
  configBytes: 1024 * 1024,
  /** Aliases that config.yaml may expand to: a few lines of nested ones can stand for billions. */
  yamlAliases: 100,
  /** Keyslots, segments, tokens of one LUKS2 header, of each: cryptsetup has 32 places. */
  luksObjects: 32,
  /** LUKS2 header: binary header and JSON area, each copy at most 4 MiB (LUKS2 on-disk format §2.1). */
  luksHeaderBytes: 4 * 1024 * 1024,
  /** One TPM tool: an RSA primary on a slow discrete TPM takes half a minute. */
  tpmToolTimeoutMs: 60_000,
  /** What a tool under way still gets once nobody waits for it, so that it flushes its own session. */
  tpmAbortGraceMs: 5_000,
  /** How often a daemon looks whether the TPM still opens this machine's key: it costs the TPM a second at most. */
  protectionLookMs: 3_600_000,
  /** What a machine says of itself to its server. */
  alertCharacters: 500,
  /** 64 and a newline (gethostname(2)). */
  hostNameBytes: 65,
  /** One answer of Parsec: its TPM provider serves one request after the other. */
  parsecTimeoutMs: 10_000,
  /** An RSA key of a slow discrete TPM takes half a minute. */
  parsecKeyMs: 60_000,
  /** The longest that is read, a list of providers, has less than 1 KiB. */
  parsecResponseBytes: 64 * 1024,
  /** PCRs of one policy: tpm2-tools 5.4 (Debian 12) unseals with no more. */
  pcrsPerPolicy: 8,
  /** A tpm2-pcr-signature.json: systemd-measure's for four boot phases in three banks is 7 KiB. */
  pcrSignatureBytes: 1024 * 1024,
  /** The PEM file of a policy key is 451 bytes; some write the key in clear before it. */
  publicKeyBytes: 16 * 1024,
  /** The firmware's log of measurements: 20 to 100 KiB, and the kernel gives it 64 to begin with. */
  eventLogBytes: 4 * 1024 * 1024,
  /** Events of which a sealed key keeps a mark of four bytes: Secure Boot's are a dozen; LUKS2 has 12 KiB for all its tokens. */
  eventMarks: 128,
  /** Wait for the TPM lock: 64 volumes on a slow TPM, one after the other. */
  tpmLockWaitMs: 600_000,
  /** stdout and stderr of a child process: TPM tools print less than 4 KiB. */
  childOutputBytes: 64 * 1024,
  /** What systemd-analyze says of all units of a machine. */
  unitGraphBytes: 4 * 1024 * 1024,
  /** From when on a person is told what is being waited for. */
  progressAfterMs: 1_000,
  /** A volume's commitments: a line of 80 bytes for each of its 32 keyslots. */
  commitmentsBytes: 8 * 1024,
  /** One call of cryptsetup: argon2 over 32 keyslots on a slow machine. */
  cryptsetupTimeoutMs: 300_000,
  /** A volume's header is 16 MiB; with a large keyslot area a few times that. */
  backupBytes: 256 * 1024 * 1024,
  /** What cryptsetup still gets once nobody waits for it: a header that is being written is written to its end. */
  cryptsetupAbortGraceMs: 10_000,
  /** From SIGTERM to SIGKILL for a child process. */
  childKillGraceMs: 1_000,
  /** Until a client that does not read is given up. */
  replyTimeoutMs: 10_000,
  /** What is still under way after the reply (a session being flushed) is waited for no longer than this. */
  aftermathMs: 8_000,
  /** How often a handler looks whether its client is still there. */
  clientPollMs: 200,
  /** How often a question at the terminal looks for its answer: too short a wait to be felt. */
  answerPollMs: 50,
  /** First and longest pause between two tries of a pin. */
  retryFirstMs: 250,
  retryLongestMs: 5_000,
  /** `give-up-after` where config.yaml says nothing. */
  giveUpAfterMs: 90_000,
  /** `wait-for-allow` where config.yaml says nothing. */
  waitForAllowMs: 600_000,
  /** systemd's abstract address is 108 bytes with its NUL and hex (unix(7)): 78 remain for a volume's name. */
  volumeNameBytes: 78,
  /** The same for a unit and its credential together. */
  unitAndCredentialBytes: 83,
  /** systemd takes less than 1 MiB. */
  credentialBytes: 1024 * 1024 - 1,
  /** How long a service's secret is tried: shorter than systemd waits for a service to start (90 s). */
  credentialPatienceMs: 75_000,
  /** One process for all services ends when nobody has asked for so long: a boot asks within seconds. */
  sharedIdleMs: 30_000,
  /** systemd refuses a credential over 1 MiB (src/core/exec-credential.c): one byte more is our refusal. */
  credentialRefusalBytes: 1024 * 1024 + 1,
  /** Random bytes that answer a failed request for a volume. */
  volumeRefusalBytes: 64,
  /** What is read of an event stream at once, and one answer of our server's. */
  serverAnswerBytes: 64 * 1024,
} as const;
