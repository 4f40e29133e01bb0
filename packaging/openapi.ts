import { readFileSync, writeFileSync } from 'node:fs';
import { toJsonSchema } from '@valibot/to-json-schema';
import type { GenericSchema } from 'valibot';
import { type Route, routes } from '../src/server/api/routes.ts';
import { refusal } from '../src/wire/refusal.ts';

/** docs/openapi.json: what a machine may ask of luks-key-server, from the schemas that check it. */

const FILE = new URL('../docs/openapi.json', import.meta.url);

export function openapi(): string {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) };
  }
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'luks-key-server',
      // Of the protocol: the `v1` of its paths.
      version: '1',
      description:
        'TLS 1.3; who asks is the key of its TLS client certificate. docs/PROTOCOL.md says what is granted.',
    },
    paths,
    components: { schemas: { refusal: schemaOf(refusal) } },
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The file as it is in the repository. */
export function committedOpenapi(): string {
  return readFileSync(FILE, 'utf8');
}

function operation({ path, principal, summary, request, response, answers }: Route) {
  const type = answers === 'json' ? 'application/json' : 'text/event-stream';
  const refused = { $ref: '#/components/schemas/refusal' };
  return {
    summary,
    'x-principal': principal,
    ...(path.includes('{kid}') && { parameters: [KID] }),
    ...(request !== null && {
      requestBody: { required: true, content: contentOf('application/json', request) },
    }),
    responses: {
      200: { description: 'granted', content: contentOf(type, response) },
      default: { description: 'refused', content: { 'application/json': { schema: refused } } },
    },
  };
}

const KID = {
  name: 'kid',
  in: 'path',
  required: true,
  description: 'SHA-256 thumbprint of the exchange key (RFC 7638)',
  schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{43}$' },
};

function contentOf(type: string, schema: GenericSchema) {
  return { [type]: { schema: schemaOf(schema) } };
}

function schemaOf(schema: GenericSchema) {
  const { $schema: _, ...rest } = toJsonSchema(schema, { target: 'draft-2020-12', errorMode: 'throw' });
  return rest;
}

if (import.meta.main) writeFileSync(FILE, openapi());
