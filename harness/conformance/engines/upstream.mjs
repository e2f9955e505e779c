// The published upstream package, asked line by line.
//
//   node upstream.mjs FOLDER calls      a line {"fn", "calls": [[argument, …], …]} in, a list of {"value"} or {"throws"} out
//   node upstream.mjs FOLDER table      a golden table's line {"fn", "args", "random"} in, {"value"} or {"error"} out
//   node upstream.mjs FOLDER classify   as `crash-harness classify`: evidence in, classification out
//   node upstream.mjs FOLDER decide     as `crash-harness decide`: a request in, a decision out
//
// FOLDER holds node_modules/@trigger.dev/core. What lies between the package's functions (the order of the steps) is
// not in the package; it is written here after the specification.
import { createInterface } from "node:readline";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, kind] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(join(folder, "node_modules/@trigger.dev/core/dist/esm/v3", path)));
const errors = await load("errors.js");
const { calculateNextRetryDelay, defaultRetryOptions } = await load("utils/retries.js");
const { RetryOptions, TaskRunError, TaskRunInternalError } = await load("schemas/index.js");

const spell = (_, value) => {
  if (value === undefined) return { $undefined: 1 };
  if (typeof value !== "number" || Number.isFinite(value)) return Object.is(value, -0) ? { $num: "-0" } : value;
  return { $num: String(value) };
};

// No reviver of JSON.parse: that would drop a member which is undefined on purpose.
const unspell = (value) => {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(unspell);
  if (value.$undefined) return undefined;
  if (value.$num) return Number(value.$num);
  if (value.$repeat) return value.$repeat[0].repeat(value.$repeat[1]);
  if (value.$concat) return value.$concat.map(unspell).join("");
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, unspell(member)]));
};

const withDraw = (draw, f) => {
  const real = Math.random;
  Math.random = () => draw;
  try {
    return f();
  } finally {
    Math.random = real;
  }
};

const parsed = (schema) => (value) => {
  const { success, data } = schema.safeParse(value);
  return success ? { success, data } : { success };
};

const functions = {
  exit: (end, docker) => errors.internalErrorFromUnexpectedExit(end, docker),
  oom: errors.isOOMRunError,
  retriable: errors.shouldRetryError,
  looked_up: errors.shouldLookupRetrySettings,
  enhance: errors.taskRunErrorEnhancer,
  sanitize: errors.sanitizeError,
  delay: (options, attempt, draw) => withDraw(draw, () => calculateNextRetryDelay(options, attempt)),
  options: parsed(RetryOptions),
  error: parsed(TaskRunError),
};

// The functions of the golden tables, by the names that the package gives them; and the two that are chains.
const named = {
  ...errors,
  calculateNextRetryDelay,
  defaultRetryOptions: () => defaultRetryOptions,
  codes: () => TaskRunInternalError.shape.code.options,
  parseRetryOptions: parsed(RetryOptions),
  parseRetryOptionsNullish: parsed(RetryOptions.nullish()),
  parseTaskRunError: parsed(TaskRunError),
  classifyExit: ({ dockerMode, ...end }) => {
    const internal = errors.internalErrorFromUnexpectedExit({ ...end, code: end.code ?? -1 }, dockerMode);
    const enhanced = errors.taskRunErrorEnhancer(internal);
    return {
      internal,
      oom: errors.isOOMRunError(internal),
      enhanced_code: enhanced.code,
      retriable: errors.shouldRetryError(enhanced),
      lookup: errors.shouldLookupRetrySettings(enhanced),
    };
  },
};

const row = ({ fn, args, random }) => {
  try {
    return { value: withDraw(random, () => named[fn](...args)) };
  } catch (thrown) {
    return { error: { message: thrown.message } };
  }
};

const attempt = (f, argument) => {
  try {
    return { value: f(...argument) };
  } catch (thrown) {
    return { throws: thrown.message };
  }
};

// --- the filters' lines ---

const INTERNAL = (code, message) => ({ type: "INTERNAL_ERROR", code, ...(message === undefined ? {} : { message }) });

const CAUSES = { "did-not-fire": "did_not_fire", "max-duration": "timeout", "unexpected-exit": "unexpected_exit" };

const classify = (evidence) => {
  const { termination, ended_by: endedBy = "self", witness = null, stderr = "", deadline_s: deadline } = evidence;
  const found = (error, rule) => ({ error, rule, cause: CAUSES[rule] ?? rule });
  if (witness === "did_not_fire") return found(null, "did-not-fire");
  const done = ["done", "silent"].includes(witness) || (witness === null && endedBy === "self");
  if (termination.kind === "exited" && termination.status === 0 && done) return found(null, "completed");
  if (["deadline", "max_duration"].includes(endedBy))
    return found(INTERNAL("MAX_DURATION_EXCEEDED", `Run exceeded maximum compute time (maxDuration) of ${deadline ?? "?"} seconds`), "max-duration");
  if (endedBy === "cancel") return found(INTERNAL("TASK_RUN_CANCELLED"), "cancelled");
  if (endedBy === "cleanup") return found(INTERNAL("TASK_EXECUTION_ABORTED"), "cleanup");
  const end = { code: termination.status ?? -1, signal: termination.signal ?? null, stderr: stderr || undefined };
  return found(errors.internalErrorFromUnexpectedExit(end, true), "unexpected-exit");
};

const delayOf = (config, number, draw) => withDraw(draw, () => calculateNextRetryDelay(config, number ?? 1));

const decide = (request) => {
  const { error, attempt: number = null, run = null, retrySettings = null, forceRequeue = false, now = 0 } = request;
  const draw = request.random ?? 0.5;
  const stored = RetryOptions.nullish().safeParse(run?.lockedRetryConfig);
  const config = stored.success ? (stored.data ?? null) : null;
  const settings = (delay) => ({ timestamp: now + delay, delay });
  if (error.type === "INTERNAL_ERROR" && error.code === "TASK_RUN_CANCELLED")
    return { outcome: "cancel_run", reason: error.message, branch: "cancelled" };
  const oom = errors.isOOMRunError(error);
  if (oom) {
    const failed = (branch) => ({ outcome: "fail_run", wasOOMError: true, branch });
    const [here, there] = [run?.machinePreset, config?.outOfMemory?.machine];
    if (!here || !there) return failed("oom-no-machine");
    if (here === there) return failed("oom-same-machine");
    const delay = delayOf(config, number, draw);
    if (!delay) return failed("oom-no-delay");
    return { outcome: "retry", method: "queue", settings: settings(delay), machine: there, wasOOMError: true, branch: "oom-moved" };
  }
  const enhanced = errors.taskRunErrorEnhancer(error);
  const failed = (branch) => ({ outcome: "fail_run", enhanced, branch });
  if (!errors.shouldRetryError(enhanced)) return failed("not-retriable");
  if (number !== null && number > 250) return failed("attempt-cap");
  if (run === null) return { raises: "Run not found" };
  if (!run.maxAttempts || (number !== null && number >= run.maxAttempts)) return failed("run-max-attempts");
  if (retrySettings !== null)
    return { outcome: "retry", method: forceRequeue ? "queue" : "immediate", settings: retrySettings, enhanced, branch: "worker-settings" };
  if (!errors.shouldLookupRetrySettings(enhanced)) return failed("no-lookup");
  if (!config) return failed("no-policy");
  const delay = delayOf(config, number, draw);
  if (!delay) return failed("policy-exhausted");
  return { outcome: "retry", method: "queue", settings: settings(delay), enhanced, branch: "policy" };
};

const answers = {
  calls: ({ fn, calls }) => calls.map((one) => attempt(functions[fn], one)),
  table: row,
  classify,
  decide: (request) => {
    try {
      return decide(request);
    } catch (thrown) {
      return { raises: thrown.message };
    }
  },
};

const marked = ["calls", "table"].includes(kind);
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const asked = JSON.parse(line);
  process.stdout.write(JSON.stringify(answers[kind](marked ? unspell(asked) : asked), marked ? spell : undefined) + "\n");
}
