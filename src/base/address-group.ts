/** An IPv4 address as people write it, where a listener for both families has `::ffff:` before it (RFC 4291 §2.5.5.2). */
export function plainAddress(address: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

/**
 * What counts as one address for limits: an IPv4 address, however it is written, and the /64 of an IPv6 one, which is
 * the least that anybody is given (RFC 6177 §2).
 * @param address as the kernel writes it
 */
export function addressGroup(address: string): string {
  const plain = plainAddress(address);
  if (!plain.includes(':') && plain !== '') return plain;
  const [text = ''] = plain.split('%');
  const [head = '', tail] = text.split('::');
  const words = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const rest = tail === '' ? [] : tail.split(':');
    while (words.length + rest.length < 8) words.push('0');
  }
  return `${words.slice(0, 4).join(':')}::/64`;
}
