import { describe, expect, it } from 'vitest'
import { isSecretKey, secretMask, splitSecrets } from '../../src/core/secret-keys.ts'

describe('the secrets of a source', () => {
  it('are found by the names of their keys, and settings beside them are not taken for one', () => {
    for (const key of [
      'password',
      'bindPassword',
      'token',
      'clientSecret',
      'apiKey',
      'api_key',
      'accessKey',
      'privateKey',
      'Authorization',
      'group.password',
    ]) {
      expect([key, isSecretKey(key)]).toEqual([key, true])
    }
    for (const key of [
      'url',
      'tokenUrl',
      'tlsCa',
      'bindDn',
      'user',
      'clientId',
      'authentication',
      'watermarkColumn',
      'keyColumn',
      'passwordAttribute',
    ]) {
      expect([key, isSecretKey(key)]).toEqual([key, false])
    }
  })

  it('are taken out at any depth of a config', () => {
    const { masked, given } = splitSecrets({
      config: { region: 'eu', auth: { token: 't1', headers: [{ 'x-api-key': 'k1' }] } },
    })
    expect(masked).toEqual({
      config: { region: 'eu', auth: { token: secretMask, headers: [{ 'x-api-key': secretMask }] } },
    })
    expect([...given]).toEqual([
      ['config/auth/token', 't1'],
      ['config/auth/headers/0/x-api-key', 'k1'],
    ])
  })

  it('do not hide in a URL, before its host or in its query', () => {
    for (const url of [
      'postgres://reader:secret@db.example.com/hr',
      'postgres://db.example.com/hr?user=reader&password=secret',
      'https://api.example.com/x?access_token=abc#frag',
    ]) {
      expect(() => splitSecrets({ url })).toThrow('holds a password in its URL')
    }
    for (const url of [
      'postgres://reader@db.example.com/hr?sslmode=require',
      'ldap://ldap.example.com:389',
      'https://api.example.com/x?token=',
      'https://api.example.com/x?page=1#token=x',
    ]) {
      expect(splitSecrets({ url }).masked).toEqual({ url })
    }
  })
})
