import t from 'tap';
import { AddressBlocks, canonicalAddress, isAddressOrBlock } from '../../../src/config/address-blocks.ts';

t.test('an address is in a block in each of its spellings', async (t) => {
  const blocks = new AddressBlocks(['10.1.0.0/16', '::ffff:192.168.0.0/120', '2001:db8::/32', '127.0.0.1']);
  const cases: [address: string, isIn: boolean][] = [
    ['10.1.2.3', true],
    ['10.2.0.1', false],
    ['::ffff:10.1.0.9', true],
    ['::FFFF:a01:203', true],
    ['0:0:0:0:0:ffff:10.1.0.9', true],
    ['192.168.0.7', true],
    ['192.168.1.7', false],
    ['2001:0DB8:0::1', true],
    ['2001:db9::1', false],
    ['127.0.0.1', true],
    ['::1', false],
    ['local', false],
    ['unknown', false],
    ['', false],
    ['10.1.2.3 ', false],
    ['10.1.2', false],
    ['010.1.2.3', false],
  ];
  for (const [address, isIn] of cases) t.equal(blocks.has(address), isIn, JSON.stringify(address));
  t.equal(new AddressBlocks([]).has('10.1.2.3'), false, 'none holds nothing');
  t.equal(canonicalAddress('fe80::1%eth0'), 'fe80::1', 'a zone says nothing to others');
});

t.test('what is neither an address nor a block is refused', async (t) => {
  for (const text of [
    '10.0.0.0/33',
    '10.0.0',
    '::1/129',
    '::ffff:1.2.3.4/95',
    'host/8',
    '1.2.3.4/',
    '::1%lo',
    '',
    '/8',
  ])
    t.notOk(isAddressOrBlock(text), text);
  for (const text of ['10.0.0.1/8', '0.0.0.0/0', '::/0', '::1', '::ffff:1.2.3.4/128'])
    t.ok(isAddressOrBlock(text), text);
  t.throws(() => new AddressBlocks(['10.0.0.0/33']), TypeError);
});

t.test('two lists meet where one block holds the start of another', async (t) => {
  const meet = (one: string, other: string) => new AddressBlocks([one]).meets(new AddressBlocks([other]));
  for (const [one, other] of [
    ['10.0.0.0/8', '10.1.0.0/16'],
    ['10.1.0.0/16', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3'],
    ['2001:db8::/32', '2001:db8:1::/48'],
  ] as const)
    t.ok(meet(one, other), `${one} ${other}`);
  t.notOk(meet('10.0.0.0/9', '10.128.0.0/9'));
  t.notOk(new AddressBlocks([]).meets(new AddressBlocks(['::/0'])));
});
