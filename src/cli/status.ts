import { failureLine } from '../base/errors.ts';
import { isProtected, protectionText } from '../protection/stored.ts';
import type { ServerStatus } from '../status/server.ts';
import { type Status, statusOf, type VolumeStatus } from '../status/status.ts';
import { type Command, parseCommandLine, placeOptions, placesFrom } from './command.ts';

const options = { ...placeOptions, probe: { type: 'boolean' }, json: { type: 'boolean' } } as const;

export const statusCommand: Command = {
  name: 'status',
  summary: 'what opens each volume, whether it can be revoked, servers',
  help: `usage: fetch-luks-key status [VOLUME] [--probe] [--json] [--etc DIR]
                             [--crypttab FILE]

For VOLUME, or every volume of crypttab whose key file is a socket of ours:
all ways to open it, of which the weakest counts; whether key servers can take
it from this machine; when its key was last delivered, by the journal. For
every key server: what it says of this machine, when a keep-alive counted
last, and what protects this machine's key for it, by that file's own bytes.

  --probe           ask whether each pin would answer now; nothing is opened,
                    and nothing counts
  --json            print {"volumes": [{"volume", "effective", "revocable",
                    "because", "ways", ...}], "servers": [...]}
  --etc DIR         default /etc/fetch-luks-key
  --crypttab FILE   default /etc/crypttab

example:
  fetch-luks-key status data --probe
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine('status', args, options, ['[VOLUME]']);
    const only = positionals[0] ?? null;
    const status = await statusOf(only, values.probe ?? false, placesFrom(values), world, world.signal);
    for (const problem of status.problems) world.say(`note: ${problem}`);
    world.print(values.json ? `${JSON.stringify(asJson(status))}\n` : asText(status));
    return 0;
  },
};

function asText({ volumes, servers }: Status): string {
  const lines = [...volumes.flatMap(volumeLines), ...servers.flatMap(serverLines)];
  return lines.length === 0 ? 'no volume of ours, and no key server\n' : `${lines.join('\n')}\n`;
}

function volumeLines({ facts, effective, revocable, ways, lastOpened, pins }: VolumeStatus): string[] {
  const { volume, device, header, headerFault, committed } = facts;
  const where = ways.flatMap((way) =>
    way.where === null ? [] : [`${way.by}: ${way.where}${sealedAt(way.sealedAtMs)}`],
  );
  const commitment = committed === null ? 'none: any sealed key that opens is taken' : committed.join(', ');
  const opened =
    lastOpened === null
      ? 'the journal does not say'
      : `${new Date(lastOpened.atMs).toISOString()} in ${lastOpened.tookMs} ms, by ${lastOpened.by}`;
  return [
    volume,
    `  device       ${device ?? 'not to be found'}${header === null ? '' : `, LUKS${header.version} ${header.uuid}`}`,
    ...(headerFault === null ? [] : [`  header       ${headerFault.message}`]),
    `  opened by    ${effective === '' ? 'nothing that is known here' : effective}`,
    ...where.map((text) => `  sealed       ${text}`),
    `  revocable    ${revocable.is ? 'yes' : 'no'}, because ${revocable.because}`,
    `  committed    ${commitment}`,
    `  last opened  ${opened}`,
    ...(pins ?? []).map(
      ({ title, fault }) =>
        `  now          ${title} ${fault === null ? 'would answer' : `would not: ${fault.message}`}`,
    ),
    '',
  ];
}

function sealedAt(atMs: number | null): string {
  return atMs === null ? '' : `, sealed ${new Date(atMs).toISOString()}`;
}

function serverLines(server: ServerStatus): string[] {
  const { name, url, state, leaseLeftMs, fault, identity, hasProof, keptAliveAtMs } = server;
  const unknown = fault === null ? 'it did not say' : failureLine(fault);
  const lease = leaseLeftMs === null ? '' : `, lease for ${Math.floor(leaseLeftMs / 1000)} s more`;
  const proof = hasProof
    ? 'left in this boot: keep-alives count'
    : 'none in this boot: no key of it was opened';
  return [
    `server ${name}`,
    `  url          ${url}`,
    `  machine      ${state === null ? `not known: ${unknown}` : `${state}${lease}`}`,
    `  alive proof  ${proof}`,
    `  keep-alive   ${keptAliveAtMs === null ? 'none in this boot' : `last ${new Date(keptAliveAtMs).toISOString()}`}`,
    `  identity     ${identity.path}, ${identity.protection === null ? 'which cannot be read' : protectionText(identity.protection)}`,
    '',
  ];
}

function asJson({ volumes, servers }: Status): object {
  return {
    volumes: volumes.map(({ facts, ways, effective, revocable, lastOpened, pins }) => ({
      volume: facts.volume,
      device: facts.device,
      uuid: facts.header?.uuid ?? null,
      effective,
      revocable: revocable.is,
      because: revocable.because,
      ways: ways.map(({ by, where, keyslots, needsPerson, sealedAtMs }) => ({
        by,
        where,
        keyslots: keyslots.map(Number),
        'needs-person': needsPerson,
        'sealed-at': sealedAtMs === null ? null : new Date(sealedAtMs).toISOString(),
      })),
      committed: facts.committed,
      'last-opened': lastOpened && {
        at: new Date(lastOpened.atMs).toISOString(),
        milliseconds: lastOpened.tookMs,
        by: lastOpened.by,
      },
      ...(pins && {
        pins: pins.map(({ title, fault }) => ({
          pin: title,
          answers: fault === null,
          why: fault?.message ?? null,
        })),
      }),
    })),
    servers: servers.map(({ name, url, state, leaseLeftMs, hasProof, keptAliveAtMs, identity, fault }) => ({
      name,
      url,
      state,
      'lease-left-ms': leaseLeftMs,
      'alive-proof': hasProof,
      'last-keep-alive': keptAliveAtMs === null ? null : new Date(keptAliveAtMs).toISOString(),
      identity: identity.path,
      'identity-protection': identity.protection,
      'protected-with-tpm': identity.protection !== null && isProtected(identity.protection),
      fault: fault?.message ?? null,
    })),
  };
}
