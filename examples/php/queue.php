<?php
// Records pass through a ring of addresses; who takes one frees it: see ../README.md.
//
//   queue produce NAME COUNT   make the ring if there is none, and put records
//   queue consume NAME COUNT   take and check them, and free the ring
//
// Every change under the lock ends with one store, of head or of tail, so the
// death of an owner leaves nothing to repair.

const MAGIC = 0x50534d2d51554555;
const SLOTS = 64;
const CAPACITY = 8, HEAD = 16, TAIL = 24, SLOT_ARRAY = 32, LOCK = 40; // offsets in the ring

function check(string $what, bool $holds): void {
  if (!$holds) throw new Exception("wrong: $what");
}

function rest(): void {
  usleep(500);
}

function payload(int $i): string {
  $bytes = '';
  for ($k = 0; $k < $i % 200; $k++) $bytes .= chr(($i + $k) % 256);
  return $bytes;
}

function sumOf(string $bytes): int {
  return array_sum(unpack('C*', $bytes));
}

function makeRing(Segment $segment): void {
  $ring = $segment->calloc(1, 64);
  $segment->pokeU64($ring, MAGIC);
  $segment->pokeU64($ring + CAPACITY, SLOTS);
  $segment->pokeU64($ring + SLOT_ARRAY, $segment->calloc(SLOTS, 8));
  $segment->setUser($ring); // last: now others find it
}

function slot(Segment $segment, int $ring, int $count): int {
  return $segment->peekU64($ring + SLOT_ARRAY) + $count % SLOTS * 8;
}

function put(Segment $segment, int $ring, int $record): bool {
  $segment->lockAt($ring + LOCK);
  $head = $segment->peekU64($ring + HEAD);
  $room = $head - $segment->peekU64($ring + TAIL) < SLOTS;
  if ($room) {
    $segment->pokeU64(slot($segment, $ring, $head), $record);
    $segment->pokeU64($ring + HEAD, $head + 1);
  }
  $segment->unlockAt($ring + LOCK);
  return $room;
}

function take(Segment $segment, int $ring): int {
  $record = 0;
  $segment->lockAt($ring + LOCK);
  $tail = $segment->peekU64($ring + TAIL);
  if ($tail !== $segment->peekU64($ring + HEAD)) {
    $record = $segment->peekU64(slot($segment, $ring, $tail));
    $segment->pokeU64($ring + TAIL, $tail + 1);
  }
  $segment->unlockAt($ring + LOCK);
  return $record;
}

function drained(Segment $segment): bool {
  $ring = $segment->user();
  return $ring === 0 || $segment->peekU64($ring + HEAD) === $segment->peekU64($ring + TAIL);
}

function produce(Segment $segment, int $count): void {
  $sum = 0;
  if ($segment->user() === 0) makeRing($segment);
  $ring = $segment->root();
  check('magic', $segment->peekU64($ring) === MAGIC);
  for ($i = 0; $i < $count; $i++) {
    $bytes = payload($i);
    $record = $segment->alloc(16 + strlen($bytes));
    $segment->pokeU64($record, $i);
    $segment->pokeU64($record + 8, strlen($bytes));
    $segment->write($record + 16, $bytes);
    $sum += sumOf($bytes);
    while (!put($segment, $ring, $record)) rest();
  }
  while (!drained($segment)) rest();
  echo "produced $count $sum\n";
}

function consume(Segment $segment, int $count): void {
  $sum = 0;
  while ($segment->user() === 0) rest();
  $ring = $segment->root();
  check('magic', $segment->peekU64($ring) === MAGIC);
  for ($i = 0; $i < $count; $i++) {
    while (($record = take($segment, $ring)) === 0) rest();
    $bytes = $segment->read($record + 16, $segment->peekU64($record + 8));
    check('number', $segment->peekU64($record) === $i);
    check('bytes', $bytes === payload($i));
    $sum += sumOf($bytes);
    $segment->free($record);
  }
  $segment->setUser(0);
  $segment->free($segment->peekU64($ring + SLOT_ARRAY));
  $segment->free($ring);
  echo "consumed $count $sum\n";
}

function joinWhenThere(string $name): Segment {
  while (true) {
    try {
      return Segment::open($name, 0, OPEN_JOIN, 0, 0);
    } catch (Exception $e) {
      if (lastError() !== 'PSM_E_NOT_FOUND') throw $e;
    }
    rest();
  }
}

if ($argc !== 4 || !in_array($argv[1], ['produce', 'consume'], true)) {
  fwrite(STDERR, "usage: queue produce|consume NAME COUNT\n");
  exit(1);
}
[, $role, $name, $count] = $argv;
try {
  $segment = $role === 'produce' ? new Segment($name, 4 << 20) : joinWhenThere($name);
  $role($segment, (int)$count);
  $segment->close();
} catch (Exception $e) {
  fwrite(STDERR, "queue: {$e->getMessage()}\n");
  exit(1);
}
