import t from 'tap';
import { plainGuest } from '../../vm-tests/harness/guest.ts';
import { qemuArguments } from '../../vm-tests/harness/qemu.ts';

const image = { kernel: '/image/vmlinuz' };
const after = (args: readonly string[], option: string) =>
  args.flatMap((arg, index) => (arg === option ? [args[index + 1] ?? ''] : []));

t.test('a machine is emulated, so that /dev/kvm may be missing', async (t) => {
  const args = qemuArguments('/boot', image, plainGuest, null);
  const accelerators = after(args, '-accel');
  t.equal(accelerators.length, 1);
  t.match(accelerators[0], /^tcg,/);
  t.notMatch(args.join(' '), /kvm|host/);
});

t.test('it has the network, the TPM and the disks that it was given, and no other', async (t) => {
  const plain = qemuArguments('/boot', image, plainGuest, null);
  t.strictSame(after(plain, '-netdev'), []);
  t.strictSame(after(plain, '-tpmdev'), []);
  const disks = [{ serial: 'data', image: '/disks/data' }];
  const args = qemuArguments('/boot', image, { ...plainGuest, disks, network: true }, '/run/tpm');
  t.strictSame(after(args, '-netdev'), ['user,id=net']);
  t.match(after(args, '-chardev'), ['socket,id=swtpm,path=/run/tpm']);
  t.ok(after(args, '-device').includes('virtio-blk-pci,drive=data,serial=data'));
});
