// BullMQ: one worker with a sandboxed processor, which runs jobs in processes of its own.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const load = createRequire(process.env.CH_ENVIRONMENT + "/");
const { Queue, Worker } = load("bullmq");
const caps = ["RETRY", "BACKOFF", "CAUSE", "HISTORY", "LATE_SUBMIT", "CONCURRENT"];
const classes = "exc segv abrt kill term exit0 exit139 nomem timeout oom".split(" ");
const states = { completed: "ok", failed: "failed", active: "running", waiting: "pending", delayed: "pending", prioritized: "pending" };
const declared = { protocol: 1, name: "bullmq", version: load("bullmq/package.json").version, caps, counts: "starts", default_attempts: 1,
  table: Object.fromEntries(classes.map((c) => [c, "retry"])), detect_s: 5, start_s: 60, stop_s: 10, backoff_min_s: 0.3 };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
console.log = console.info = console.error;
let redis, queue, worker, policy;
const ids = {};
const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").split(" ").filter(Number).map(Number);

async function look(job) {
  const found = await queue.getJob(ids[job]), state = states[await found.getState()] ?? "unknown";
  const cause = state === "ok" ? "" : found.failedReason ?? "", result = state === "ok" ? found.returnvalue : null;
  return { state, cause, result, attempts: found.attemptsMade, history: (found.stacktrace ?? []).map((t) => t.split("\n")[0]) };
}

const does = {
  hello: () => declared,
  start: async (m) => {
    const path = m.folder + "/redis", file = m.folder + "/processor.cjs";
    policy = m.policy;
    const quiet = ["--save", "", "--appendonly", "no", "--dir", m.folder];
    redis = spawn("redis-server", ["--port", "0", "--unixsocket", path, ...quiet], { stdio: ["ignore", "ignore", 2] });
    while (!existsSync(path)) await sleep(50);
    writeFileSync(file, `module.exports = (job) => require(${JSON.stringify(m.payload.node)})(job.data);\n`);
    const connection = { path, maxRetriesPerRequest: null };
    queue = new Queue("q", { connection });
    worker = new Worker("q", file, { connection, concurrency: m.workers });
    worker.on("error", (error) => console.error(String(error)));
    await worker.waitUntilReady();
    return {};
  },
  submit: async (m) => {
    const retry = { attempts: policy.max_attempts, backoff: { type: "fixed", delay: Math.round((policy.backoff_s ?? 0) * 1000) } };
    ids[m.job] = (await queue.add("t", m.job, policy.max_attempts ? retry : {})).id;
    return {};
  },
  claim: async (m) => ({ jobs: Object.fromEntries(await Promise.all(m.jobs.filter((job) => ids[job]).map(async (job) => [job, await look(job)]))) }),
  alive: () => ({ alive: worker.isRunning() && redis.exitCode === null, workers: [process.pid] }),
  stop: () => { for (const pid of children()) try { process.kill(pid, "SIGKILL"); } catch {} return {}; },
};
for await (const line of createInterface({ input: process.stdin })) {
  const m = JSON.parse(line);
  const reply = await (async () => does[m.do]?.(m) ?? { error: `unknown request: ${m.do}` })().catch((error) => ({ error: String(error) }));
  writeSync(1, JSON.stringify({ ...reply, id: m.id }) + "\n");
  if (m.do === "stop") process.exit(0);
}
does.stop();
process.exit(0);
