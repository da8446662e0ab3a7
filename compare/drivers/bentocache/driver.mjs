// One node of bentocache: the driver protocol of ../../src/protocol.rs, one JSON object a line.
//
// Set up as "Multi-tier" of its documentation: memory, Redis, and Redis' messages as the bus between nodes; reads by
// `getOrSet`, whose loads of one key are joined; writes followed by `delete`, which reaches both tiers and the bus. Grace
// periods and soft timeouts are left off: they answer with what is known to be old.

import { readFileSync, writeFileSync } from 'node:fs'
import { createHistogram } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { redisBusDriver, redisDriver } from 'bentocache/drivers/redis'
import pg from 'pg'

const LOAD = 'SELECT id, version, name, body FROM item WHERE id = $1'
const CHANGE = 'UPDATE item SET version = version + 1 WHERE id = $1 RETURNING version'
/** Reads of one task between two turns of the others; hits never wait for anything outside. */
const TURN = 64
/** A read or an invalidation that takes longer is given up, in milliseconds. */
const PATIENCE_MS = 2000

// 64-bit numbers that fit.
pg.types.setTypeParser(20, Number)

/** The clock of all processes, in nanoseconds. */
const now = () => process.hrtime.bigint()
const nanos = (ms) => BigInt(ms) * 1_000_000n

let node

async function open(options) {
  const address = new URL(options.redis)
  const connection = { host: address.hostname, port: Number(address.port) }
  const pool = new pg.Pool({ connectionString: options.postgres, max: options.connections })
  const cache = new BentoCache({
    default: 'tiers',
    stores: {
      tiers: bentostore()
        .useL1Layer(memoryDriver({ maxItems: options.entries }))
        .useL2Layer(redisDriver({ connection }))
        .useBus(redisBusDriver({ connection })),
    },
  })
  const load = async (id) => {
    const { rows } = await pool.query({ name: 'load', text: LOAD, values: [id] })
    if (rows.length === 0) throw new Error(`no row ${id}`)
    return rows[0]
  }
  const ttl = `${options.life_s}s`
  node = {
    get: async (id) =>
      (await cache.getOrSet({ key: `item:${id}`, ttl, grace: false, factory: () => load(id) })).version,
    change: async (id) => (await pool.query({ name: 'change', text: CHANGE, values: [id] })).rows[0].version,
    changed: (id) => cache.delete({ key: `item:${id}` }),
  }
  return {}
}

/** What the tasks of a phase have seen. */
class Seen {
  times = createHistogram()
  failed = 0
  why = null

  add(took) {
    this.times.record(Math.max(1, Math.round(took * 1e6)))
  }

  fail(error) {
    this.failed += 1
    this.why ??= String(error?.message ?? error)
  }

  answer(began) {
    return {
      reads: this.times.count,
      failed: this.failed,
      nanos: Number(now() - began),
      p50_ns: this.times.percentile(50),
      p99_ns: this.times.percentile(99),
      why: this.why,
    }
  }
}

const together = (count, task) => Promise.all(Array.from({ length: count }, (_, index) => task(index)))

async function read(seen, id) {
  const start = performance.now()
  try {
    await node.get(id)
    seen.add(performance.now() - start)
  } catch (error) {
    seen.fail(error)
  }
}

async function each({ keys, tasks, limit_ms }) {
  const [seen, began] = [new Seen(), now()]
  const deadline = began + nanos(limit_ms)
  let next = 1
  await together(tasks, async () => {
    while (next <= keys && now() < deadline) {
      await read(seen, next++)
    }
  })
  return seen.answer(began)
}

function sequence(path) {
  const bytes = readFileSync(path)
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
}

async function hot({ sequence: path, keys, tasks, run_ms }) {
  const order = sequence(path)
  await each({ keys, tasks, limit_ms: 3_600_000 })
  const [seen, began] = [new Seen(), now()]
  const end = began + nanos(run_ms)
  await together(tasks, async (task) => {
    let at = task * Math.floor(order.length / tasks)
    while (now() < end) {
      for (let turn = 0; turn < TURN; turn++) {
        await read(seen, order[at++ % order.length])
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  return seen.answer(began)
}

async function crowd({ key, readers }) {
  const [seen, began] = [new Seen(), now()]
  await together(readers, () => read(seen, key))
  return seen.answer(began)
}

/** Turns of one task at a fixed rate; one that is late goes at once. */
function schedule(began, end, task, tasks, perSecond) {
  const every = Number(1_000_000_000n) * tasks / Math.max(1, perSecond)
  let next = Number(began) + every * task / tasks
  return async () => {
    if (next >= Number(end)) return false
    const wait = (next - Number(now())) / 1e6
    if (wait > 0) await sleep(wait)
    next += every
    return now() < end
  }
}

function inTime(promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE_MS} ms`)), PATIENCE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function watch(options) {
  const { readers, writers, offset, burst } = options
  const [order, began, lines, seen] = [sequence(options.sequence), now(), [], new Seen()]
  const end = began + nanos(options.run_ms)
  const stride = Math.floor(order.length / (readers + writers))
  let reads = 0
  const reader = async (task) => {
    const turn = schedule(began, end, task, readers, options.reads_per_s)
    let at = offset + task * stride
    while (await turn()) {
      const [key, start] = [order[at++ % order.length], now()]
      try {
        const version = await inTime(node.get(key))
        lines.push(`R ${key} ${version} ${start} ${now()}`)
        reads += 1
      } catch (error) {
        seen.fail(error)
        lines.push(`F ${start}`)
      }
    }
  }
  const writer = async (task) => {
    const turn = schedule(began, end, task, writers, options.bursts_per_s)
    let at = offset + (readers + task) * stride
    while (await turn()) {
      const key = order[at++ % order.length]
      for (let write = 0; write < burst; write++) {
        try {
          const version = await node.change(key)
          lines.push(`W ${key} ${version} ${now()}`)
        } catch (error) {
          seen.why ??= `writing: ${error?.message ?? error}`
          continue
        }
        await inTime(node.changed(key)).catch(() => lines.push(`L ${key}`))
      }
    }
  }
  await Promise.all([together(readers, reader), together(writers, writer)])
  writeFileSync(options.file, lines.length > 0 ? `${lines.join('\n')}\n` : '')
  return { reads, failed: seen.failed, nanos: Number(now() - began), why: seen.why }
}

const commands = { open, each, hot, crowd, watch, hand_over: async () => ({}) }

// A connection that is lost while nobody waits for it must not end the process.
process.on('uncaughtException', (error) => console.error(error))
process.on('unhandledRejection', (error) => console.error(error))

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  let answer
  try {
    answer = await commands[command.do](command)
  } catch (error) {
    answer = { error: String(error?.stack ?? error) }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
process.exit(0)
