// Records pass through a ring of addresses; who takes one frees it: see ../README.md.
//
//   queue produce NAME COUNT   make the ring if there is none, and put records
//   queue consume NAME COUNT   take and check them, and free the ring
//
// Every change under the lock ends with one store, of head or of tail, so the
// death of an owner leaves nothing to repair.
module queue;

import core.thread : Thread;
import core.time : usecs;
import std.algorithm : sum;
import std.conv : to;
import std.stdio;
import psm.psm;

enum ulong MAGIC = 0x50534d2d51554555;
enum ulong SLOTS = 64;
enum : ulong { CAPACITY = 8, HEAD = 16, TAIL = 24, ARRAY = 32, LOCK = 40 } // offsets in the ring

Segment segment;

void check(string what, bool holds) {
  if (!holds) throw new Exception("wrong: " ~ what);
}

void rest() {
  Thread.sleep(200.usecs);
}

ubyte[] payload(ulong i) {
  auto bytes = new ubyte[i % 200];
  foreach (k, ref b; bytes) b = cast(ubyte)(i + k);
  return bytes;
}

void makeRing() {
  ulong ring = segment.calloc(1, 64);
  segment.pokeU64(ring, MAGIC);
  segment.pokeU64(ring + CAPACITY, SLOTS);
  segment.pokeU64(ring + ARRAY, segment.calloc(SLOTS, 8));
  segment.setUser(ring); // last: now others find it
}

ulong slot(ulong ring, ulong count) {
  return segment.peekU64(ring + ARRAY) + count % SLOTS * 8;
}

bool put(ulong ring, ulong record) {
  segment.lockAt(ring + LOCK);
  scope (exit) segment.unlockAt(ring + LOCK);
  ulong head = segment.peekU64(ring + HEAD);
  if (head - segment.peekU64(ring + TAIL) == SLOTS) return false;
  segment.pokeU64(slot(ring, head), record);
  segment.pokeU64(ring + HEAD, head + 1);
  return true;
}

ulong take(ulong ring) {
  segment.lockAt(ring + LOCK);
  scope (exit) segment.unlockAt(ring + LOCK);
  ulong tail = segment.peekU64(ring + TAIL);
  if (tail == segment.peekU64(ring + HEAD)) return 0;
  ulong record = segment.peekU64(slot(ring, tail));
  segment.pokeU64(ring + TAIL, tail + 1);
  return record;
}

bool drained() {
  ulong ring = segment.user();
  return ring == 0 || segment.peekU64(ring + HEAD) == segment.peekU64(ring + TAIL);
}

void produce(ulong count) {
  ulong total;
  if (segment.user() == 0) makeRing();
  ulong ring = segment.root();
  check("magic", segment.peekU64(ring) == MAGIC);
  foreach (i; 0 .. count) {
    auto bytes = payload(i);
    ulong record = segment.alloc(16 + bytes.length);
    segment.pokeU64(record, i);
    segment.pokeU64(record + 8, bytes.length);
    segment.write(record + 16, bytes);
    total += bytes.sum(0UL);
    while (!put(ring, record)) rest();
  }
  while (!drained()) rest();
  writeln("produced ", count, " ", total);
}

void consume(ulong count) {
  ulong total;
  while (segment.user() == 0) rest();
  ulong ring = segment.root();
  check("magic", segment.peekU64(ring) == MAGIC);
  foreach (i; 0 .. count) {
    ulong record = take(ring);
    for (; record == 0; record = take(ring)) rest();
    auto bytes = segment.read(record + 16, segment.peekU64(record + 8));
    check("number", segment.peekU64(record) == i);
    check("bytes", bytes == payload(i));
    total += bytes.sum(0UL);
    segment.free(record);
  }
  segment.setUser(0);
  segment.free(segment.peekU64(ring + ARRAY));
  segment.free(ring);
  writeln("consumed ", count, " ", total);
}

Segment joinWhenThere(string name) {
  while (true) {
    try return Segment.open(name, 0, OPEN_JOIN, 0, 0);
    catch (Exception e) if (lastError() != "PSM_E_NOT_FOUND") throw e;
    rest();
  }
}

int main(string[] arguments) {
  if (arguments.length != 4 || (arguments[1] != "produce" && arguments[1] != "consume")) {
    stderr.writeln("usage: queue produce|consume NAME COUNT");
    return 1;
  }
  try {
    bool producer = arguments[1] == "produce";
    segment = producer ? new Segment(arguments[2], 4 << 20) : joinWhenThere(arguments[2]);
    ulong count = arguments[3].to!ulong;
    if (producer) produce(count);
    else consume(count);
    segment.close();
    return 0;
  } catch (Exception e) {
    stderr.writeln("queue: ", e.msg);
    return 1;
  }
}
