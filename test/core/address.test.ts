// Addresses: every special network, IPv4 within IPv6, and allow-lists.
import fc from 'fast-check'
import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  type AddressKind,
  classifyAddress,
  isAllowedEntry,
  isListed,
  parseAddress,
} from '../../src/core/address.ts'

function kindOf(text: string): AddressKind | null {
  const address = parseAddress(text)
  return address === null ? null : classifyAddress(address)
}

const examples: Readonly<Record<AddressKind, readonly string[]>> = {
  public: ['8.8.8.8', '1.0.0.0', '223.255.255.255', '100.128.0.1', '2606:4700::1111'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', 'fd12::1'],
  loopback: ['127.0.0.1', '127.255.255.254', '::1'],
  'link-local': ['169.254.0.1', '169.254.169.254', 'fe80::1', 'febf::1', 'fe80::1%eth0'],
  metadata: ['100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:ec2::254', 'fd20:ce::254'],
  unspecified: ['0.0.0.0', '::'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  broadcast: ['255.255.255.255'],
  reserved: [
    '0.0.0.1',
    '192.0.2.1',
    '198.51.100.7',
    '203.0.113.9',
    '240.0.0.1',
    '2001:db8::1',
    '2001::1',
    '4000::1',
    'fec0::1',
    '100::1',
  ],
}

describe('classifyAddress', () => {
  for (const [kind, texts] of Object.entries(examples)) {
    it(`knows ${kind} addresses`, () => {
      for (const text of texts) expect([text, kindOf(text)]).toEqual([text, kind])
    })
  }

  it('judges an IPv4 address within an IPv6 one by the IPv4 address', () => {
    const carried: readonly (readonly [string, AddressKind])[] = [
      ['::ffff:10.0.0.1', 'private'],
      ['::ffff:169.254.169.254', 'link-local'],
      ['::ffff:7f00:1', 'loopback'],
      ['::ffff:0:127.0.0.1', 'loopback'],
      ['::127.0.0.1', 'loopback'],
      ['::8.8.8.8', 'public'],
      ['64:ff9b::a9fe:a9fe', 'link-local'],
      ['64:ff9b::8.8.8.8', 'public'],
      ['2002:a9fe:a9fe::1', 'link-local'],
      ['2002:6464:64c8::', 'metadata'],
      ['2002:808:808::', 'public'],
      // Where the IPv4 address stands in this one is decided by each network, so it is not reached at all.
      ['64:ff9b:1::a00:1', 'reserved'],
    ]
    for (const [text, kind] of carried) expect([text, kindOf(text)]).toEqual([text, kind])
  })
})

describe('parseAddress', () => {
  it('takes exactly what the system takes as an address in the usual spelling', () => {
    const words = fc.array(fc.constantFrom('0', '1', 'ffff', '00001', '', 'g', '1.2.3.4', ':'), {
      maxLength: 10,
    })
    const texts = fc.oneof(
      fc.ipV4(),
      fc.ipV4Extended(),
      fc.ipV6(),
      words.map((parts) => parts.join(':')),
      fc.stringMatching(/^[0-9a-f.:]{0,20}(%[0-9a-z]{1,4})?$/),
    )
    fc.assert(
      fc.property(texts, (text) => {
        expect(parseAddress(text)?.family ?? 0).toBe(isIP(text))
      }),
      { numRuns: 5000 },
    )
  })

  it('takes no odd spelling', () => {
    for (const odd of ['0x7f000001', '127.1', '2130706433', '0177.0.0.1', '1.2.3.4.', '1::2::3']) {
      expect(parseAddress(odd)).toBeNull()
    }
  })
})

describe('allow-lists', () => {
  const listed = (allowed: readonly string[], host: string, text: string): boolean => {
    const address = parseAddress(text)
    return address !== null && isListed(allowed, host, address)
  }

  it('take networks, addresses and host names', () => {
    const allowed = ['10.1.0.0/16', '192.168.1.5', 'Directory.example.org', 'fd12:1::/32']
    expect(listed(allowed, 'x', '10.1.255.255')).toBe(true)
    expect(listed(allowed, 'x', '10.2.0.0')).toBe(false)
    expect(listed(allowed, 'x', '192.168.1.5')).toBe(true)
    expect(listed(allowed, 'x', '192.168.1.6')).toBe(false)
    expect(listed(allowed, 'x', '::ffff:10.1.0.1')).toBe(true)
    expect(listed(allowed, 'x', 'fd12:1:2::3')).toBe(true)
    expect(listed(allowed, 'x', 'fd12:2::3')).toBe(false)
    expect(listed(allowed, 'directory.example.org.', '8.8.8.8')).toBe(true)
    expect(listed(allowed, 'evil.directory.example.org', '8.8.8.8')).toBe(false)
  })

  it('tell entries that say nothing', () => {
    for (const good of ['10.0.0.0/8', '::1', 'fd00::/8', 'localhost', 'a.b-c.example.org']) {
      expect([good, isAllowedEntry(good)]).toEqual([good, true])
    }
    for (const bad of [
      '',
      '10.0.0.0/33',
      '10.0.0.0/8/8',
      '10.0.0',
      '*.example.org',
      'a b',
      '1::/x',
    ]) {
      expect([bad, isAllowedEntry(bad)]).toEqual([bad, false])
      expect(listed([bad], 'x', '10.0.0.1')).toBe(false)
    }
  })
})
