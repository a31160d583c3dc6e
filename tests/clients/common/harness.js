'use strict'
// Runs the cases of a JavaScript suite, a few at a time, and prints one line for each:
// `ok NAME`, `not ok NAME: reason` or `skip NAME: reason`; lines with `#` are for people.

const assert = require('node:assert/strict')

const CASE_TIMEOUT_MS = 30_000
const CLEANUP_TIMEOUT_MS = 8_000
const ACCOUNT_TIMEOUT_MS = 5_000
const POLL_MS = 10

const env = {
  bootstrap: process.env.BOOTSTRAP || '127.0.0.1:9092',
  runId: process.env.RUN_ID || `run${Date.now().toString(36)}`,
  phase: process.env.PHASE || 'all',
  // Set to `kafka` when the suite itself is checked against Apache Kafka.
  oracle: process.env.ORACLE || '',
  jobs: Number(process.env.JOBS || 8),
  only: process.argv.slice(2),
}

class Skip extends Error {}

const cases = []
const cleanups = []

/** Registers a case of phase `all`. */
function test(name, run) {
  cases.push({ name, run, phase: 'all' })
}

/** Registers one half of the restart test; `phase` is `before` or `after`. */
function phased(phase, name, run) {
  cases.push({ name, run, phase })
}

class Context {
  constructor(name) {
    this.name = name
    this.cleanups = []
    this.accounts = []
    this.stopped = false
  }

  topic(label = '') {
    return `${env.runId}-${this.name}${label && `-${label}`}`
  }

  group(label = '') {
    return `${this.topic(label)}-group`
  }

  defer(cleanup) {
    this.cleanups.push(cleanup)
  }

  note(text) {
    console.log(`# ${this.name}: ${text}`)
  }

  /** If the case fails, `account` is asked for lines that tell how things stand at that moment. */
  explain(account) {
    this.accounts.push(account)
  }

  async printAccounts() {
    for (const account of this.accounts) {
      await within(ACCOUNT_TIMEOUT_MS, Promise.resolve().then(account), () => 'account').then(
        lines => lines.forEach(line => this.note(line)),
        error => this.note(`no account: ${reasonOf(error)}`)
      )
    }
  }

  skip(reason) {
    throw new Skip(reason)
  }

  /** Resolves with the first truthy answer of `check`; the case's timeout is the limit. */
  async until(what, check) {
    this.waitingFor = what
    for (;;) {
      const answer = await check()
      if (answer) return answer
      if (this.stopped) throw new Error(`gave up waiting for ${what}`)
      await new Promise(resolve => setTimeout(resolve, POLL_MS))
    }
  }

  async clean() {
    this.stopped = true
    await within(
      CLEANUP_TIMEOUT_MS,
      Promise.allSettled(this.cleanups.map(cleanup => cleanup())),
      () => 'cleanup'
    ).catch(() => {})
  }
}

function within(ms, promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what()} not within ${ms} ms`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function reasonOf(error) {
  const text = error instanceof Error ? error.message || error.name : String(error)
  const where = error instanceof Error ? (error.stack || '').match(/([\w-]+\/[\w-]+\.js:\d+)/) : null
  return (text + (where ? ` (${where[1]})` : '')).replace(/\s+/g, ' ').slice(0, 400)
}

async function runCase({ name, run }) {
  const context = new Context(name)
  const began = Date.now()
  try {
    await within(CASE_TIMEOUT_MS, run(context), () => context.waitingFor || name)
    console.log(`ok ${name}`)
    return true
  } catch (error) {
    if (error instanceof Skip) {
      console.log(`skip ${name}: ${error.message}`)
      return true
    }
    console.log(`not ok ${name}: ${reasonOf(error)}`)
    if (process.env.VERBOSE) console.log(error)
    await context.printAccounts()
    return false
  } finally {
    if (process.env.VERBOSE) console.log(`# ${name}: ${Date.now() - began} ms`)
    cleanups.push(context.clean()) // A consumer leaves when its fetch ends; the next case need not wait.
  }
}

/** Runs the cases of the phase, then `finish` (which removes what the run made), then exits. */
async function main(finish) {
  const due = cases.filter(
    ({ name, phase }) =>
      phase === env.phase && (!env.only.length || env.only.some(part => name.includes(part)))
  )
  let failed = 0
  const worker = async () => {
    for (let next = due.shift(); next; next = due.shift()) {
      if (!(await runCase(next))) failed += 1
    }
  }
  // The halves of the restart test build on each other and run in order.
  const jobs = env.phase === 'all' ? env.jobs : 1
  await Promise.all(Array.from({ length: jobs }, worker))
  await Promise.all(cleanups)
  if (env.phase !== 'before') {
    await within(CLEANUP_TIMEOUT_MS, finish(), () => 'removal of topics').catch(error => {
      console.log(`# ${reasonOf(error)}`)
    })
  }
  process.exit(failed ? 1 : 0)
}

module.exports = { assert, env, main, phased, test }
