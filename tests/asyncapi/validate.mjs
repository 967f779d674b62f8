// node validate.mjs FILE: what AsyncAPI's own parser finds wrong with a document, and the messages it read, as JSON.
// Through references the parser follows .avsc files but does not look whether they are Avro: its Avro part is asked here,
// about every payload that says it is.
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Parser } from '@asyncapi/parser'
import { AvroSchemaParser } from '@asyncapi/avro-schema-parser'

const source = resolve(process.argv[2])
const text = await readFile(source, 'utf8')
const avro = AvroSchemaParser()
const parser = new Parser()
parser.registerSchemaParser(avro)
const { document, diagnostics } = await parser.parse(text, { source })
const found = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join('.'), severity }))
for (const [name, { payload }] of Object.entries(document ? JSON.parse(text).components.messages : {})) {
  if (!payload.schemaFormat?.startsWith('application/vnd.apache.avro')) continue
  const data = JSON.parse(await readFile(resolve(dirname(source), payload.schema.$ref), 'utf8'))
  for (const { message } of await avro.validate({ data, path: [name] })) {
    found.push({ code: 'avro', message, path: name, severity: 0 })
  }
}
const messages = document ? document.messages().all().map((message) => message.id()) : []
console.log(JSON.stringify({ found, messages }))
