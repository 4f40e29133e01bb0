import type { MeasuredEvent } from './event-log.ts';

/** TCG PC Client Platform Firmware Profile §10.4.1. */
const types: ReadonlyMap<number, string> = new Map([
  [0x00000001, 'EV_POST_CODE'],
  [0x00000004, 'EV_SEPARATOR'],
  [0x00000005, 'EV_ACTION'],
  [0x00000006, 'EV_EVENT_TAG'],
  [0x00000007, 'EV_S_CRTM_CONTENTS'],
  [0x00000008, 'EV_S_CRTM_VERSION'],
  [0x00000009, 'EV_CPU_MICROCODE'],
  [0x0000000a, 'EV_PLATFORM_CONFIG_FLAGS'],
  [0x0000000b, 'EV_TABLE_OF_DEVICES'],
  [0x0000000c, 'EV_COMPACT_HASH'],
  [0x0000000d, 'EV_IPL'],
  [0x0000000e, 'EV_IPL_PARTITION_DATA'],
  [0x0000000f, 'EV_NONHOST_CODE'],
  [0x00000010, 'EV_NONHOST_CONFIG'],
  [0x00000011, 'EV_NONHOST_INFO'],
  [0x80000001, 'EV_EFI_VARIABLE_DRIVER_CONFIG'],
  [0x80000002, 'EV_EFI_VARIABLE_BOOT'],
  [0x80000003, 'EV_EFI_BOOT_SERVICES_APPLICATION'],
  [0x80000004, 'EV_EFI_BOOT_SERVICES_DRIVER'],
  [0x80000005, 'EV_EFI_RUNTIME_SERVICES_DRIVER'],
  [0x80000006, 'EV_EFI_GPT_EVENT'],
  [0x80000007, 'EV_EFI_ACTION'],
  [0x80000008, 'EV_EFI_PLATFORM_FIRMWARE_BLOB'],
  [0x80000009, 'EV_EFI_HANDOFF_TABLES'],
  [0x8000000a, 'EV_EFI_PLATFORM_FIRMWARE_BLOB2'],
  [0x8000000b, 'EV_EFI_HANDOFF_TABLES2'],
  [0x8000000c, 'EV_EFI_VARIABLE_BOOT2'],
  [0x800000e0, 'EV_EFI_VARIABLE_AUTHORITY'],
]);

/** For people: `EV_EFI_VARIABLE_DRIVER_CONFIG dbx`. What it says of itself is not measured, so it is a hint only. */
export function eventName({ type, data }: Pick<MeasuredEvent, 'type' | 'data'>): string {
  const name = types.get(type) ?? `event of type 0x${type.toString(16)}`;
  const about = printable(describe(name, data));
  return about === '' ? name : `${name} ${about}`;
}

function describe(name: string, data: Buffer): string {
  if (name.startsWith('EV_EFI_VARIABLE_')) return variableName(data);
  if (name.startsWith('EV_EFI_BOOT_SERVICES_') || name.startsWith('EV_EFI_RUNTIME_')) return filePath(data);
  switch (name) {
    case 'EV_ACTION':
    case 'EV_EFI_ACTION':
    case 'EV_IPL':
    case 'EV_S_CRTM_VERSION':
      return text(data);
    default:
      return '';
  }
}

/** UEFI_VARIABLE_DATA (§10.2.6): a GUID, the lengths of name (characters) and contents, then the name. */
function variableName(data: Buffer): string {
  const at = 16 + 8 + 8;
  if (data.length < at) return '';
  const characters = Number(data.readBigUInt64LE(16));
  return data.subarray(at, Math.min(at + 2 * characters, data.length)).toString('utf16le');
}

/**
 * UEFI_IMAGE_LOAD_EVENT (§10.2.3): three numbers, the length of the device path, then its nodes, of which that with
 * type 4 and sub-type 4 is a file's name (UEFI §10.3.5.4).
 */
function filePath(data: Buffer): string {
  const [MEDIA, FILE] = [4, 4];
  let at = 4 * 8;
  while (at + 4 <= data.length) {
    const length = data.readUInt16LE(at + 2);
    if (length < 4) break;
    if (data[at] === MEDIA && data[at + 1] === FILE)
      return data.subarray(at + 4, at + length).toString('utf16le');
    at += length;
  }
  return '';
}

/** ASCII or UTF-16, as each writer likes. */
function text(data: Buffer): string {
  return data.toString(data.length > 1 && data[1] === 0 ? 'utf16le' : 'latin1');
}

/** One short line: its length and what is in it are up to whoever boots. */
function printable(value: string): string {
  const [line = ''] = value.split('\0');
  return line
    .replaceAll(/[^ -~]/g, '?')
    .trim()
    .slice(0, 100);
}
