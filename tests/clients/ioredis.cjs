// ioredis against a running server. TRUEUP_RESP is its address, TRUEUP_DB the SQLite file it serves. Writes go to the file
// through the sqlite3 shell, which knows nothing of the cache.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { once } = require("node:events");
const Redis = require("ioredis");

const DEADLINE_MS = 10_000;
const [host, port] = process.env.TRUEUP_RESP.split(":");

function client(options = {}) {
  const redis = new Redis({ host, port: Number(port), commandTimeout: DEADLINE_MS, ...options });
  redis.on("error", () => {}); // Errors come back from the commands; without a listener each is printed too.
  return redis;
}

function write(statement) {
  execFileSync("sqlite3", ["-cmd", ".timeout 5000", process.env.TRUEUP_DB, statement]);
}

const row = (reply) => (reply === null ? null : JSON.parse(reply));

// Reads until the fact is there: what is waited for is the fact, never an amount of time.
async function eventually(read, wanted) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const got = await read();
    if (got === wanted) return;
    assert.ok(Date.now() < end, `wanted ${wanted} within ${DEADLINE_MS} ms, got ${got}`);
  }
}

const tests = {
  async "reads rows, absent ones as null"(redis) {
    assert.deepEqual(row(await redis.get("account:3")).owner, "李雷");
    assert.equal(await redis.get("account:404"), null);
    const many = await redis.mget("account:1", "account:404", "account:3");
    assert.deepEqual(many.map((reply) => row(reply)?.id), [1, undefined, 3]);
    assert.ok(Buffer.isBuffer(await redis.getBuffer("account:1")));
  },

  async "commands of every day"(redis) {
    assert.equal(await redis.ping(), "PONG");
    assert.equal(await redis.exists("account:1", "account:404"), 1);
    assert.equal(await redis.ttl("account:404"), -2);
    assert.ok((await redis.del("account:1")) <= 1);
    assert.equal(row(await redis.get("account:1")).owner, "Ada");
    assert.match(await redis.info(), /redis_version:/);
    assert.equal(await redis.client("SETNAME", "till-9"), "OK");
    assert.equal(await redis.client("GETNAME"), "till-9");
  },

  async "a pipeline keeps the order"(redis) {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.get(`account:${(i % 4) + 1}`);
    const replies = await pipeline.exec();
    replies.forEach(([error, reply], i) => {
      assert.equal(error, null);
      assert.equal(row(reply).id, (i % 4) + 1);
    });
  },

  async "automatic pipelining: each promise gets its own answer"() {
    const redis = client({ enableAutoPipelining: true });
    const reads = Array.from({ length: 1000 }, (_, i) => redis.get(`account:${(i % 4) + 1}`));
    (await Promise.all(reads)).forEach((reply, i) => assert.equal(row(reply).id, (i % 4) + 1));
    redis.disconnect();
  },

  async "writes by others are seen, with a token at once"(redis) {
    for (const balance of [11, 12, 13]) {
      write(`UPDATE account SET balance = ${balance} WHERE id = 4`);
      await eventually(async () => row(await redis.get("account:4")).balance, balance);
    }
    for (let balance = 20; balance < 30; balance++) {
      write(`UPDATE account SET balance = ${balance} WHERE id = 4`);
      const token = await redis.call("TRUEUP.TOKEN");
      const [value, , age, servedBy] = await redis.call("TRUEUP.GET", "account", "4", "TOKEN", token);
      assert.equal(row(value).balance, balance);
      assert.ok(age >= 0 && ["l1", "l2", "source"].includes(servedBy), `${age} ${servedBy}`);
    }
  },

  async "reconnects by itself after a broken connection"(redis) {
    await redis.ping();
    const broken = once(redis, "close");
    redis.stream.destroy();
    await broken;
    assert.equal(row(await redis.get("account:1")).id, 1);
  },

  async "a mistake is an error and nothing more"(redis) {
    await assert.rejects(redis.set("account:1", "x"), { name: "ReplyError" });
    await assert.rejects(redis.get("nosuchclass:1"), /known: account/);
    await assert.rejects(redis.call("NOSUCHCOMMAND"), { name: "ReplyError" });
    assert.equal(await redis.ping(), "PONG");
  },
};

async function main() {
  for (const [name, test] of Object.entries(tests)) {
    const redis = client();
    try {
      await test(redis);
    } finally {
      redis.disconnect();
    }
    console.log(`ioredis: ${name}`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
