/**
 * What counts as one address for limits: an IPv4 address, however it is written, and the /64 of an IPv6 one, which is
 * the least that anybody is given (RFC 6177 §2).
 * @param address as the kernel writes it
 */
export function addressGroup(address: string): string {
  const four = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (four !== undefined) return four;
  const [text = ''] = address.split('%');
  const [head = '', tail] = text.split('::');
  const words = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const rest = tail === '' ? [] : tail.split(':');
    while (words.length + rest.length < 8) words.push('0');
  }
  return `${words.slice(0, 4).join(':')}::/64`;
}
