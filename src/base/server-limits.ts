/** All limits of luks-key-server: the unit is in the name, the reason beside it. */
export const serverLimits = {
  /** What the lease clock advances by at most per tick: what a server that was stopped or cut off may miscount. */
  leaseTickMs: 10_000,
  /** Between two ticks: two of them may be late before the lease clock stands still. */
  beatMs: 3_000,
  /** SQLite: transactions that share one commit, so that a full queue does not hold the first answer for long. */
  transactionsPerCommit: 256,
  /** Wait for another process's lock on the database or a row of it. */
  lockWaitMs: 5_000,
  /** One statement, and one transaction that stopped talking, in PostgreSQL: a lost client must not hold a row. */
  statementMs: 10_000,
  /** Connections to PostgreSQL per process, one of which listens: its default is 100 for all. */
  databaseConnections: 9,
  /** Machines that are named where they may be many. */
  namesShown: 5,
  /** Rows read at once where all are read: each page is one pause for other work. */
  pageRows: 200,
  /** An invitation: long enough to walk to the machine, too short to be found later. */
  invitationMs: 3_600_000,
  /** What the operator's own commands wait for the server: a backup of 100,000 machines takes minutes. */
  operatorMs: 600_000,
  /** Below it the doctor speaks. */
  diskSpareBytes: 256 * 1024 * 1024,
  /** A key that was deleted comes back for so long. */
  deletedKeyMs: 7 * 86_400_000,
  deletedKeyPauseMs: 3_600_000,
  /** One chunk of a backup: what is held in memory before it is authenticated. */
  backupChunkBytes: 64 * 1024,
  /** One line of a backup, which is one row. */
  backupLineBytes: 1024 * 1024,
  /** A request's line and headers: ours take less than 300 bytes. */
  headerBytes: 4 * 1024,
  /** A request's body: a point is 250 bytes; the rest is for evidence with the log of a measured boot. */
  bodyBytes: 64 * 1024,
  /** Connections of one listener: an idle one costs 77 KiB of memory, all of them 0.8 GiB. */
  connections: 10_000,
  /** Of these, from one address: a fleet behind one router, and never all. */
  connectionsPerAddress: 1_000,
  /** TLS handshake: four flights over the slowest line. */
  handshakeMs: 10_000,
  /** From a connection's, or a request's, first byte to the end of its headers; to its end. */
  headersMs: 10_000,
  requestMs: 20_000,
  /** How often these two are looked at. */
  timeCheckMs: 1_000,
  /** From the whole request to its answer. */
  answerMs: 15_000,
  /** A machine's connection without a request: longer than a third of the usual lease. */
  idleMs: 10 * 60_000,
  /** A watching machine hears at least this often, so that both sides notice a line that is cut. */
  heartbeatMs: 30_000,
  /** A lease that is about to end is looked at no more often, should its clock stand still. */
  leaseLookMs: 200,
  /** What a watching machine may leave unread: far more than all its events. */
  unreadBytes: 16 * 1024,
  /** What is in flight at a stop is waited for no longer: systemd's own patience is 90 s. */
  stopMs: 20_000,
  /** Handshakes per address: each costs 2 ms, so one address takes a tenth of a processor at most. */
  handshakesPerSecond: 50,
  handshakeBurst: 500,
  /** Requests per address: a fleet behind one router. */
  requestsPerSecondFromAddress: 200,
  requestBurstFromAddress: 2_000,
  /** Lines of the log about strangers of one address, and of all: 90 MiB a day at most. */
  strangerLinesPerSecond: 1,
  strangerLineBurst: 50,
  strangerLinesPerSecondOfAll: 5,
  strangerLineBurstOfAll: 500,
  /** Requests per machine: a boot with 32 volumes makes two for each. */
  requestsPerSecondOfMachine: 5,
  requestBurstOfMachine: 100,
  /** Addresses, or machines, whose rates are remembered: the longest unseen are forgotten. */
  rateEntries: 20_000,
  /** Connections of the metrics' listener: a few Prometheus servers ask, each over one. */
  plainConnections: 64,
  /** A round that looks at every machine is followed by a rest this many times as long: 4 % of a processor. */
  roundsRest: 25,
  /** What ended in the last round before a start may not have been told: a round over 100,000 machines, with its rest. */
  roundsRepeatedMs: 60_000,
  /** Alerts that wait for one webhook: an hour of one every four seconds, 1 MiB at most. */
  webhookAlerts: 1_000,
  /** One try of a webhook: what hangs is given up, and tried again. */
  webhookTryMs: 10_000,
  /** First and longest pause between two tries: a receiver that was away for a night hears within minutes. */
  webhookPauseFirstMs: 1_000,
  webhookPauseLongestMs: 300_000,
  /** A file with a webhook's secret: 64 bytes in base64. */
  webhookSecretBytes: 256,
} as const;
