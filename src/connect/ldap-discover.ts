// The schemas that a directory has: the object classes of some entries, and what its subschema says of their attributes.
import { describe, type DescribedAttribute, type DescribedSchema } from '../core/description.ts'
import type { AttributeType } from '../core/schema.ts'
import type { ReadAttribute } from './ldap-entry.ts'
import type { Root } from './ldap-root.ts'
import { readEntry, searchPages, type Session } from './ldap-search.ts'
import type { LdapSettings, Place } from './ldap-settings.ts'
import { formOf } from './ldap-values.ts'

/** So many entries of each base tell which classes there are. */
const sampleSize = 200

interface AttributeRule {
  readonly name: string
  readonly description: string | null
  readonly syntax: string | null
  readonly above: string | null
  readonly single: boolean
}

interface ClassRule {
  readonly name: string
  readonly above: readonly string[]
  readonly attributes: readonly string[]
  readonly structural: boolean
}

/** Rules by their names in lower case. */
interface Subschema {
  readonly attributes: ReadonlyMap<string, AttributeRule>
  readonly classes: ReadonlyMap<string, ClassRule>
}

/** Proposes the schemas of accounts and groups; one of which there is no entry is left out. */
export async function discoverSchemas(
  session: Session,
  settings: LdapSettings,
  root: Root,
  usual: readonly DescribedSchema[],
): Promise<readonly DescribedSchema[]> {
  const subschema = await readSubschema(session, root)
  const found: DescribedSchema[] = []
  for (const schema of usual) {
    const isAccount = schema.name === 'account'
    const place = isAccount ? settings.accounts : settings.groups
    const classes = await sampleClasses(session, place)
    if (classes.size === 0) continue
    const rules = attributesOf(subschema, classes)
    const several = await sampleSeveral(session, place, rules)
    const groups = isAccount ? settings.groupAttribute : null
    const own = schema.attributes.filter(({ name }) =>
      [schema.identityAttribute, groups].includes(name),
    )
    const known = new Set(own.map(({ name }) => name.toLowerCase()))
    const others = rules
      .filter(({ name }) => !known.has(name.toLowerCase()))
      .map((rule) => describeRule(subschema, rule, several, settings))
    found.push({
      ...schema,
      nativeObjectType: mainClass(subschema, classes) ?? schema.nativeObjectType,
      attributes: [...own, ...others],
    })
  }
  return found
}

async function readSubschema(session: Session, root: Root): Promise<Subschema> {
  const names = ['attributeTypes', 'objectClasses'].map((name): ReadAttribute => ({
    name,
    form: null,
  }))
  const place = root.subschema
  const filter = '(objectClass=subschema)'
  const entry = place === null ? null : await readEntry(session, place, names, { filter })
  const [types, classes] = [0, 1].map((slot) => [entry?.values[slot] ?? []].flat())
  return {
    attributes: byNames((types ?? []).map(parseAttributeRule)),
    classes: byNames((classes ?? []).map(parseClassRule)),
  }
}

function byNames<Rule>(rules: readonly { names: readonly string[]; rule: Rule }[]) {
  return new Map(
    rules.flatMap(({ names, rule }) => names.map((name) => [name.toLowerCase(), rule])),
  )
}

/** Reads a description such as `( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )`. */
function parseAttributeRule(text: string): { names: readonly string[]; rule: AttributeRule } {
  const names = quoted(text, 'NAME')
  return {
    names,
    rule: {
      name: names[0] ?? '',
      description: quoted(text, 'DESC')[0] ?? null,
      syntax: /\sSYNTAX\s+'?([0-9.]+)/.exec(text)?.[1] ?? null,
      above: listed(text, 'SUP')[0] ?? null,
      single: /\sSINGLE-VALUE\b/.test(text),
    },
  }
}

function parseClassRule(text: string): { names: readonly string[]; rule: ClassRule } {
  const names = quoted(text, 'NAME')
  return {
    names,
    rule: {
      name: names[0] ?? '',
      above: listed(text, 'SUP'),
      attributes: [...listed(text, 'MUST'), ...listed(text, 'MAY')],
      structural: !/\s(?:ABSTRACT|AUXILIARY)\b/.test(text),
    },
  }
}

function quoted(text: string, word: string): readonly string[] {
  const part = new RegExp(String.raw`\s${word}\s+(\([^)]*\)|'[^']*')`).exec(text)?.[1] ?? ''
  return Array.from(part.matchAll(/'([^']*)'/g), (match) => match[1] ?? '')
}

function listed(text: string, word: string): readonly string[] {
  const part = new RegExp(String.raw`\s${word}\s+(\([^)]*\)|[\w.;-]+)`).exec(text)?.[1] ?? ''
  return part.match(/[\w.;-]+/g) ?? []
}

/** The classes of some entries of a place. */
async function sampleClasses(session: Session, place: Place): Promise<ReadonlySet<string>> {
  const classes = new Set<string>()
  for await (const entry of sample(session, place, [{ name: 'objectClass', form: null }])) {
    for (const name of [entry.values[0] ?? []].flat()) classes.add(name.toLowerCase())
  }
  return classes
}

/** The attributes of which some entry has several values. */
async function sampleSeveral(
  session: Session,
  place: Place,
  rules: readonly AttributeRule[],
): Promise<ReadonlySet<string>> {
  const several = new Set<string>()
  const form = (value: Buffer): string => String(value.length)
  const attributes = rules.filter(({ single }) => !single).map(({ name }) => ({ name, form }))
  if (attributes.length === 0) return several
  for await (const entry of sample(session, place, attributes)) {
    for (const [slot, value] of entry.values.entries()) {
      if (Array.isArray(value)) several.add(attributes[slot]?.name ?? '')
    }
  }
  return several
}

async function* sample(session: Session, place: Place, attributes: readonly ReadAttribute[]) {
  const { scope, filter } = place
  for (const base of place.bases) {
    const search = { base, scope, filter, attributes, limit: sampleSize }
    for await (const page of searchPages(session, search)) yield* page
  }
}

/** The attributes that entries of these classes may have, each once, in the order of the classes. */
function attributesOf(
  { classes, attributes }: Subschema,
  found: ReadonlySet<string>,
): readonly AttributeRule[] {
  const names = new Map<string, AttributeRule>()
  for (const name of withAbove(classes, found)) {
    for (const attribute of classes.get(name)?.attributes ?? []) {
      const rule = attributes.get(attribute.toLowerCase())
      if (rule !== undefined && !isSecret(rule.name)) names.set(rule.name, rule)
    }
  }
  return [...names.values()]
}

function withAbove(
  classes: ReadonlyMap<string, ClassRule>,
  found: Iterable<string>,
): ReadonlySet<string> {
  const all = new Set<string>()
  const add = (name: string): void => {
    if (all.has(name)) return
    all.add(name)
    for (const above of classes.get(name)?.above ?? []) add(above.toLowerCase())
  }
  for (const name of found) add(name)
  return all
}

/** Passwords and keys have no place among the attributes of accounts. */
function isSecret(name: string): boolean {
  return /^(?:userPassword|unicodePwd|ntPwdHistory|lmPwdHistory|dBCSPwd|userPKCS12)$/i.test(name)
}

/** The structural class that no other found class is built upon. */
function mainClass({ classes }: Subschema, found: ReadonlySet<string>): string | null {
  const structural = [...found].flatMap((name) => {
    const rule = classes.get(name)
    return rule?.structural === true ? [rule] : []
  })
  const above = new Set(
    structural.flatMap((rule) => [
      ...withAbove(
        classes,
        rule.above.map((name) => name.toLowerCase()),
      ),
    ]),
  )
  return structural.find(({ name }) => !above.has(name.toLowerCase()))?.name ?? null
}

/**
 * Most attributes may have several values by the schema, cn and mail too, and nearly none has. Only those that have
 * become lists.
 */
function describeRule(
  subschema: Subschema,
  rule: AttributeRule,
  several: ReadonlySet<string>,
  settings: LdapSettings,
): DescribedAttribute {
  const type =
    formOf(rule.name, settings.binaryAttributes) === null ? typeOf(subschema, rule, 0) : 'STRING'
  return describe(rule.name, rule.description ?? `The attribute ${rule.name} of the directory.`, {
    type,
    isMulti: !rule.single && several.has(rule.name),
  })
}

function typeOf(subschema: Subschema, rule: AttributeRule, depth: number): AttributeType {
  if (rule.syntax === null) {
    const above = subschema.attributes.get(rule.above?.toLowerCase() ?? '')
    return above === undefined || depth > 10 ? 'STRING' : typeOf(subschema, above, depth + 1)
  }
  switch (rule.syntax) {
    case '1.3.6.1.4.1.1466.115.121.1.7':
      return 'BOOLEAN'
    // INTEGER has no largest number in LDAP.
    case '1.3.6.1.4.1.1466.115.121.1.27':
    case '1.2.840.113556.1.4.906':
      return 'LONG'
    case '1.3.6.1.4.1.1466.115.121.1.24':
      return 'DATE'
    default:
      return 'STRING'
  }
}
