// What V8 catches: an access out of bounds, unreachable code and a stack overflow in WebAssembly, here or in a worker.
const { Worker, isMainThread, parentPort } = require('worker_threads')
const code = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 9, 2, 96, 1, 127, 1, 127, 96, 0, 0, 3, 4, 3, 0, 1, 1, 5, 3, 1, 0, 1, 7, 13, 3,
  1, 108, 0, 0, 1, 117, 0, 1, 1, 114, 0, 2, 10, 18, 3, 7, 0, 32, 0, 40, 2, 0, 11, 3, 0, 0, 11, 4, 0, 16, 2, 11,
])
const { l, u, r } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports
const caught = (run) => { try { run(); return 'nothing' } catch (error) { return error.constructor.name } }
function all () {
  const names = {}
  for (let i = 0; i < 300; i++) for (const run of [() => l(0x7ffffff0), u, r]) { const n = caught(run); names[n] = (names[n] || 0) + 1 }
  return JSON.stringify(names)
}
if (!isMainThread) parentPort.postMessage(all())
else if (process.argv[2] === 'worker') new Worker(__filename).on('message', (text) => console.log(text))
else console.log(all())
