// The suite's payload for node. It has no exec, so it fires by raise. See docs/engine-protocol.md, "Payload".
const fs = require("fs");

const LEDGER = process.env.CH_LEDGER;
const FOLDER = LEDGER + ".d/";
const MIB = 1 << 20;
const FIRST = fs.existsSync("/sys/fs/cgroup/memory");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function number(job) {
  for (let n = 1; ; n++) {
    try {
      fs.closeSync(fs.openSync(`${FOLDER}${job}.${n}`, "wx"));
      return n;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
  }
}

function memoryLimit() {
  try {
    const rows = fs.readFileSync("/proc/self/cgroup", "utf8").trim().split("\n").map((line) => line.split(":"));
    const row = rows.find(([, names]) => (FIRST ? names.split(",").includes("memory") : names === ""));
    const base = FIRST ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    const file = `${base}${row.slice(2).join(":")}/${FIRST ? "memory.limit_in_bytes" : "memory.max"}`;
    const bytes = Number(fs.readFileSync(file, "utf8"));
    return bytes > 2 ** 50 || Number.isNaN(bytes) ? 0 : bytes;
  } catch {
    return 0;
  }
}

function note(job, n, ev) {
  const stat = fs.readFileSync("/proc/self/stat", "latin1");
  const start = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  const t = process.hrtime.bigint().toString();
  const head = JSON.stringify({ run: process.env.CH_RUN, job, n, ev, pid: process.pid, start });
  const line = `${head.slice(0, -1)},"t":${t},"mem":${ev === "start" ? memoryLimit() : 0},"ns":${fs.statSync("/proc/self/ns/pid").ino}}`;
  const ledger = fs.openSync(LEDGER, "a");
  fs.writeSync(ledger, line.padEnd(255) + "\n");
  fs.closeSync(ledger);
}

function raise(signal) {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

function oom(plan) {
  const own = memoryLimit() > 0 && memoryLimit() <= 512 * MIB;
  if (!own) fs.writeFileSync(plan.cgroup + "/cgroup.procs", String(process.pid));
  const kept = [];
  for (let i = 0; i < 20; i++) kept.push(Buffer.alloc(8 * MIB, 1));
  return own && kept.length > 0 && memoryLimit() > 160 * MIB;
}

const crashes = {
  exc: () => { throw new Error("boom"); },
  segv: () => raise("SIGSEGV"),
  handled: () => raise("SIGSEGV"),
  nomem: () => raise("SIGSEGV"),
  abrt: () => process.abort(),
  kill: () => raise("SIGKILL"),
  term: () => raise("SIGTERM"),
  exit0: () => process.reallyExit(0),
  exit139: () => process.reallyExit(139),
  sh139: () => process.reallyExit(139),
  hang: () => sleep(3600e3),
  nhang: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  oom,
};

async function fire(job, n, fault, plan) {
  note(job, n, "fire");
  fs.closeSync(fs.openSync(`${FOLDER}${job}.fired`, "w"));
  let fits = false;
  try {
    fits = await crashes[fault](plan);
  } catch (error) {
    if (fault === "exc" || !error.code) throw error;
  }
  if (fits) return;
  await sleep(3000);
  note(job, n, "unfired");
  throw new Error("the fault did not fire");
}

module.exports = async (job) => {
  const n = number(job);
  note(job, n, "start");
  const plan = JSON.parse(fs.readFileSync(`${FOLDER}${job}.json`));
  const until = Date.now() + (plan.wait_s ?? 0) * 1000;
  const there = () => !plan.wait_for || fs.existsSync(FOLDER + plan.wait_for);
  while (!there() && Date.now() < until) await sleep(20);
  if (!there()) note(job, n, "alone");
  await sleep((plan.run_s ?? 0.1) * 1000);
  const fault = plan.faults[Math.min(n, plan.faults.length) - 1];
  if (fault !== "ok" && fault !== "late") await fire(job, n, fault, plan);
  note(job, n, "end");
  if (fault === "late") setTimeout(() => { note(job, n, "fire"); raise("SIGSEGV"); }, 300);
  return `done:${job}:${n}`;
};
