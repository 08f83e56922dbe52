// BullMQ in the engine table. The same phases, words and figures as common.py, which explains them.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { performance } from "node:perf_hooks";

const { Queue, Worker } = createRequire(process.env.PEER_DIRECTORY + "/")("bullmq");
const SIZE = 300, BATCH = 1000, WARM = 2000, CONCURRENCY = 100, RATE = 200;
const [url, what, jobs, filled] = [process.argv[2], process.argv[3], +process.argv[4], +process.argv[5]];
const { hostname: host, port } = new URL(url);
const connection = { host, port: +port };
const queue = new Queue("bench", { connection, defaultJobOptions: { removeOnComplete: true } });
const tell = (figures) => process.stdout.write(JSON.stringify(figures) + "\n");
const nap = (ms) => new Promise((done) => setTimeout(done, ms));
const now = () => performance.timeOrigin + performance.now(); // ms
const payload = () => ({ p: String(now()).padEnd(20, "0").padEnd(SIZE, "x") });
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; };

let count = 0, begun = null, ended = null, goal = jobs;
const waits = [];
async function noop(job) {
  waits.push(now() - parseFloat(job.data.p));
  count += 1;
  if (!begun && count >= WARM) { begun = [performance.now(), cpu()]; goal += count; }
  else if (begun && !ended && count >= goal) ended = [performance.now(), cpu()];
}
const work = () => new Worker("bench", noop, { connection, concurrency: CONCURRENCY });

async function fill(many) {
  for (let start = 0; start < many; start += BATCH) {
    const some = Array.from({ length: Math.min(BATCH, many - start) }, () => ({ name: "noop", data: payload() }));
    await queue.addBulk(some);
  }
}

function percentiles(values) {
  values.sort((a, b) => a - b);
  return { p50: values[Math.floor(values.length / 2)], p99: values[Math.floor(values.length * 0.99)] };
}

const phases = {
  async drain() {
    await fill(WARM);
    const from = performance.now(), used = cpu();
    await fill(filled);
    tell({ seconds: (performance.now() - from) / 1000, cpu: cpu() - used });
    const lines = createInterface({ input: process.stdin });
    await new Promise((done) => lines.once("line", done));
    work();
    while (!ended) await nap(2);
    tell({ seconds: (ended[0] - begun[0]) / 1000, cpu: ended[1] - begun[1], loop: ended[1] - begun[1], jobs });
  },
  async single() {
    const took = [];
    for (let n = 0; n < jobs + 200; n++) {
      const from = performance.now();
      await queue.add("noop", payload());
      took.push(performance.now() - from);
    }
    tell(percentiles(took.slice(200)));
  },
  async latency() {
    work();
    await nap(1000);
    const from = performance.now();
    for (let n = 0; n < jobs + 200; n++) {
      await nap(Math.max(0, from + (n * 1000) / RATE - performance.now()));
      queue.add("noop", payload());
    }
    while (waits.length < jobs + 200) await nap(10);
    tell(percentiles(waits.slice(200)));
  },
};

await queue.waitUntilReady();
await phases[what]();
process.stdout.write("", () => process.exit(0));
