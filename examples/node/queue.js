// Records pass through a ring of addresses; who takes one frees it: see ../README.md.
//
//   queue produce NAME COUNT   make the ring if there is none, and put records
//   queue consume NAME COUNT   take and check them, and free the ring
//
// Every change under the lock ends with one store, of head or of tail, so the
// death of an owner leaves nothing to repair.
'use strict';
const psm = require('psm');

const MAGIC = 0x50534d2d51554555n;
const SLOTS = 64n;
const [CAPACITY, HEAD, TAIL, ARRAY, LOCK] = [8n, 16n, 24n, 32n, 40n]; // offsets in the ring

function check(what, holds) {
  if (!holds) throw new Error(`wrong: ${what}`);
}

const still = new Int32Array(new SharedArrayBuffer(4));
function rest() {
  Atomics.wait(still, 0, 0, 0.5); // half a millisecond
}

function payload(i) {
  return Buffer.from(Array.from({length: i % 200}, (_, k) => (i + k) % 256));
}

function sumOf(bytes) {
  return bytes.reduce((sum, byte) => sum + byte, 0);
}

function makeRing(segment) {
  const ring = segment.calloc(1, 64);
  segment.pokeU64(ring, MAGIC);
  segment.pokeU64(ring + CAPACITY, SLOTS);
  segment.pokeU64(ring + ARRAY, segment.calloc(SLOTS, 8));
  segment.setUser(ring); // last: now others find it
}

function slot(segment, ring, count) {
  return segment.peekU64(ring + ARRAY) + count % SLOTS * 8n;
}

function put(segment, ring, record) {
  segment.lockAt(ring + LOCK);
  const head = segment.peekU64(ring + HEAD);
  const room = head - segment.peekU64(ring + TAIL) < SLOTS;
  if (room) {
    segment.pokeU64(slot(segment, ring, head), record);
    segment.pokeU64(ring + HEAD, head + 1n);
  }
  segment.unlockAt(ring + LOCK);
  return room;
}

function take(segment, ring) {
  let record = 0n;
  segment.lockAt(ring + LOCK);
  const tail = segment.peekU64(ring + TAIL);
  if (tail !== segment.peekU64(ring + HEAD)) {
    record = segment.peekU64(slot(segment, ring, tail));
    segment.pokeU64(ring + TAIL, tail + 1n);
  }
  segment.unlockAt(ring + LOCK);
  return record;
}

function drained(segment) {
  const ring = segment.user();
  return ring === 0n || segment.peekU64(ring + HEAD) === segment.peekU64(ring + TAIL);
}

function produce(segment, count) {
  let sum = 0;
  if (segment.user() === 0n) makeRing(segment);
  const ring = segment.root();
  check('magic', segment.peekU64(ring) === MAGIC);
  for (let i = 0; i < count; i++) {
    const bytes = payload(i);
    const record = segment.alloc(16 + bytes.length);
    segment.pokeU64(record, i);
    segment.pokeU64(record + 8n, bytes.length);
    segment.write(record + 16n, bytes);
    sum += sumOf(bytes);
    while (!put(segment, ring, record)) rest();
  }
  while (!drained(segment)) rest();
  console.log(`produced ${count} ${sum}`);
}

function consume(segment, count) {
  let sum = 0;
  while (segment.user() === 0n) rest();
  const ring = segment.root();
  check('magic', segment.peekU64(ring) === MAGIC);
  for (let i = 0; i < count; i++) {
    let record = take(segment, ring);
    for (; record === 0n; record = take(segment, ring)) rest();
    const bytes = segment.read(record + 16n, segment.peekU64(record + 8n));
    check('number', segment.peekU64(record) === BigInt(i));
    check('bytes', bytes.equals(payload(i)));
    sum += sumOf(bytes);
    segment.free(record);
  }
  segment.setUser(0);
  segment.free(segment.peekU64(ring + ARRAY));
  segment.free(ring);
  console.log(`consumed ${count} ${sum}`);
}

function joinWhenThere(name) {
  for (;;) {
    try {
      return psm.Segment.open(name, 0, psm.OPEN_JOIN, 0, 0);
    } catch (error) {
      if (error.code !== 'PSM_E_NOT_FOUND') throw error;
    }
    rest();
  }
}

function main([role, name, count, ...more]) {
  const roles = {produce, consume};
  if (!roles[role] || !count || more.length) throw new Error('usage: queue produce|consume NAME COUNT');
  const segment = role === 'produce' ? new psm.Segment(name, 4 << 20) : joinWhenThere(name);
  roles[role](segment, Number(count));
  segment.close();
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(`queue: ${error.message}`);
  process.exitCode = 1;
}
