import t from 'tap';
import { addressGroup } from '../../src/base/address-group.ts';

t.test('an IPv4 address, and the /64 of an IPv6 one', async (t) => {
  for (const [address, group] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['', '::/64'],
  ] as const) {
    t.equal(addressGroup(address), group, address);
  }
});
