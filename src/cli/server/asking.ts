import { DEFAULT_OPERATOR_SOCKET } from '../operator.ts';

export { ask } from '../operator.ts';

export const socketOption = {
  socket: { type: 'string', default: DEFAULT_OPERATOR_SOCKET },
  json: { type: 'boolean', default: false },
} as const;

export const socketHelp = `  --socket PATH  default ${DEFAULT_OPERATOR_SOCKET}
  --json         print JSON`;
