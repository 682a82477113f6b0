import {
  PersonalAccessTokensApi,
  PersonalAccessTokensBetaApi,
  PersonalAccessTokensV2024Api,
  SourcesApi,
  SourcesBetaApi,
  SourcesV2024Api,
} from 'sailpoint-api-client'
import { describe, expect, inject, it } from 'vitest'
import { csvFile, freshName, header } from './data.ts'
import { type Answer, callerOf, configure, v3 } from './sdk.ts'

const target = inject('target')
const configuration = configure(target)
const owner = await callerOf(configuration)

/** What the tests see of a personal access token. */
interface Pat {
  readonly id: string
  readonly name: string
  readonly scope: string[] | null
  readonly owner: object
  readonly lastUsed?: string | null
  readonly managed?: boolean
}

interface Pats {
  readonly create: (name: string) => Promise<Answer<Pat & { readonly secret: string }>>
  readonly list: () => Promise<Answer<Pat[]>>
  readonly rename: (id: string, name: string) => Promise<Answer<Pat>>
  readonly remove: (id: string) => Promise<Answer<unknown>>
}

function patsOf(prefix: string): Pats {
  const rename = (value: string) => [{ op: 'replace' as const, path: '/name', value }]
  if (prefix === 'beta') {
    const api = new PersonalAccessTokensBetaApi(configuration)
    return {
      create: (name) =>
        api.createPersonalAccessToken({ createPersonalAccessTokenRequestBeta: { name } }),
      list: () => api.listPersonalAccessTokens({ ownerId: 'me' }),
      rename: (id, name) =>
        api.patchPersonalAccessToken({ id, jsonPatchOperationBeta: rename(name) }),
      remove: (id) => api.deletePersonalAccessToken({ id }),
    }
  }
  if (prefix === 'v2024') {
    const api = new PersonalAccessTokensV2024Api(configuration)
    return {
      create: (name) =>
        api.createPersonalAccessToken({ createPersonalAccessTokenRequestV2024: { name } }),
      list: () => api.listPersonalAccessTokens({ ownerId: 'me' }),
      rename: (id, name) =>
        api.patchPersonalAccessToken({ id, jsonPatchOperationV2024: rename(name) }),
      remove: (id) => api.deletePersonalAccessToken({ id }),
    }
  }
  const api = new PersonalAccessTokensApi(configuration)
  return {
    create: (name) => api.createPersonalAccessToken({ createPersonalAccessTokenRequest: { name } }),
    list: () => api.listPersonalAccessTokens({ ownerId: 'me' }),
    rename: (id, name) => api.patchPersonalAccessToken({ id, jsonPatchOperation: rename(name) }),
    remove: (id) => api.deletePersonalAccessToken({ id }),
  }
}

describe.each(['beta', 'v3', 'v2024'])('personal access tokens of the SDK on /%s', (prefix) => {
  const pats = patsOf(prefix)

  it('are made, used by the SDK, renamed and deleted', async () => {
    const made = await pats.create(freshName('PAT'))
    expect(made.status).toBe(200)
    const { id, secret, scope } = made.data
    expect([id, secret]).toEqual([
      expect.stringMatching(/^[0-9a-f]{32}$/),
      expect.stringMatching(/^\S{32,}$/),
    ])
    expect(scope).toEqual(['sp:scopes:all'])
    expect(made.data.owner).toMatchObject(owner)
    const used = v3(configure({ ...target, clientId: id, clientSecret: secret }))
    expect((await used.listSources({ limit: 1 })).status).toBe(200)
    const name = freshName('Renamed')
    expect((await pats.rename(id, name)).data).toMatchObject({ id, name })
    const listed = (await pats.list()).data.find((one) => one.id === id)
    expect(listed).toMatchObject({ name, managed: false, lastUsed: expect.any(String) })
    expect(listed).not.toHaveProperty('secret')
    expect((await pats.remove(id)).status).toBe(204)
    // Its access token is refused from then on.
    await expect(used.listSources({ limit: 1 })).rejects.toMatchObject({
      response: { status: 401 },
    })
  })
})

/** The templates of one prefix. */
interface Templates {
  readonly download: (id: string) => Promise<Answer<unknown>>
  readonly upload: (id: string, file: File) => Promise<Answer<{ readonly name?: string }>>
}

function templatesOf(prefix: string): Templates {
  if (prefix === 'beta') {
    const api = new SourcesBetaApi(configuration)
    return {
      download: (sourceId) => api.getSourceAccountsSchema({ sourceId }),
      upload: (sourceId, file) => api.importSourceAccountsSchema({ sourceId, file }),
    }
  }
  const api = prefix === 'v3' ? new SourcesApi(configuration) : new SourcesV2024Api(configuration)
  return {
    download: (id) => api.getAccountsSchema({ id }),
    upload: (id, file) => api.importAccountsSchema({ id, file }),
  }
}

describe.each(['beta', 'v3', 'v2024'])('templates of the SDK on /%s', (prefix) => {
  const templates = templatesOf(prefix)

  it('are downloaded as text and uploaded as a File', async () => {
    const sdk = v3(configuration)
    const { data } = await sdk.createSource(
      { name: freshName('Template'), owner, connector: 'delimited-file-angularsc' },
      true,
    )
    const id = data.id ?? ''
    expect((await templates.download(id)).data).toBe(`${header}\n`)
    const uploaded = await templates.upload(id, csvFile(`${header},costCentre\n`, 'schema.csv'))
    expect([uploaded.status, uploaded.data.name]).toEqual([200, 'account'])
    expect((await templates.download(id)).data).toBe(`${header},costCentre\n`)
    await sdk.deleteSource(id)
  })
})
