// Records pass through a ring of addresses; who takes one frees it: see ../README.md.
//
//   queue produce NAME COUNT   make the ring if there is none, and put records
//   queue consume NAME COUNT   take and check them, and free the ring
//
// Every change under the lock ends with one store, of head or of tail, so the
// death of an owner leaves nothing to repair.
using System;
using System.Linq;
using System.Threading;
using Psm;

static class Queue {
  const ulong Magic = 0x50534d2d51554555;
  const ulong Slots = 64;
  const ulong Capacity = 8, Head = 16, Tail = 24, Array = 32, Lock = 40; // offsets in the ring

  static Segment segment;

  static void Check(string what, bool holds) {
    if (!holds) throw new Exception("wrong: " + what);
  }

  static void Rest() {
    Thread.Sleep(TimeSpan.FromMilliseconds(0.5));
    Thread.Yield();
  }

  static byte[] Payload(ulong i) {
    var bytes = new byte[i % 200];
    for (ulong k = 0; k < i % 200; k++) bytes[k] = (byte)((i + k) % 256);
    return bytes;
  }

  static void MakeRing() {
    ulong ring = segment.calloc(1, 64);
    segment.pokeU64(ring, Magic);
    segment.pokeU64(ring + Capacity, Slots);
    segment.pokeU64(ring + Array, segment.calloc(Slots, 8));
    segment.setUser(ring); // last: now others find it
  }

  static ulong Slot(ulong ring, ulong count) {
    return segment.peekU64(ring + Array) + count % Slots * 8;
  }

  static bool Put(ulong ring, ulong record) {
    segment.lockAt(ring + Lock);
    ulong head = segment.peekU64(ring + Head);
    bool room = head - segment.peekU64(ring + Tail) < Slots;
    if (room) {
      segment.pokeU64(Slot(ring, head), record);
      segment.pokeU64(ring + Head, head + 1);
    }
    segment.unlockAt(ring + Lock);
    return room;
  }

  static ulong Take(ulong ring) {
    ulong record = 0;
    segment.lockAt(ring + Lock);
    ulong tail = segment.peekU64(ring + Tail);
    if (tail != segment.peekU64(ring + Head)) {
      record = segment.peekU64(Slot(ring, tail));
      segment.pokeU64(ring + Tail, tail + 1);
    }
    segment.unlockAt(ring + Lock);
    return record;
  }

  static bool Drained() {
    ulong ring = segment.user();
    return ring == 0 || segment.peekU64(ring + Head) == segment.peekU64(ring + Tail);
  }

  static void Produce(ulong count) {
    long sum = 0;
    if (segment.user() == 0) MakeRing();
    ulong ring = segment.root();
    Check("magic", segment.peekU64(ring) == Magic);
    for (ulong i = 0; i < count; i++) {
      byte[] bytes = Payload(i);
      ulong record = segment.alloc(16 + (ulong)bytes.Length);
      segment.pokeU64(record, i);
      segment.pokeU64(record + 8, (ulong)bytes.Length);
      segment.write(record + 16, bytes);
      sum += bytes.Sum(b => (long)b);
      while (!Put(ring, record)) Rest();
    }
    while (!Drained()) Rest();
    Console.WriteLine("produced " + count + " " + sum);
  }

  static void Consume(ulong count) {
    long sum = 0;
    while (segment.user() == 0) Rest();
    ulong ring = segment.root();
    Check("magic", segment.peekU64(ring) == Magic);
    for (ulong i = 0; i < count; i++) {
      ulong record = Take(ring);
      for (; record == 0; record = Take(ring)) Rest();
      byte[] bytes = segment.read(record + 16, segment.peekU64(record + 8));
      Check("number", segment.peekU64(record) == i);
      Check("bytes", bytes.SequenceEqual(Payload(i)));
      sum += bytes.Sum(b => (long)b);
      segment.free(record);
    }
    segment.setUser(0);
    segment.free(segment.peekU64(ring + Array));
    segment.free(ring);
    Console.WriteLine("consumed " + count + " " + sum);
  }

  static Segment JoinWhenThere(string name) {
    while (true) {
      try {
        return Segment.open(name, 0, psm.OPEN_JOIN, 0, 0);
      } catch (PsmException e) {
        if (e.Code != "PSM_E_NOT_FOUND") throw;
      }
      Rest();
    }
  }

  static int Main(string[] arguments) {
    if (arguments.Length != 3 || (arguments[0] != "produce" && arguments[0] != "consume")) {
      Console.Error.WriteLine("usage: queue produce|consume NAME COUNT");
      return 1;
    }
    try {
      bool producer = arguments[0] == "produce";
      segment = producer ? new Segment(arguments[1], 4 << 20) : JoinWhenThere(arguments[1]);
      if (producer) Produce(ulong.Parse(arguments[2]));
      else Consume(ulong.Parse(arguments[2]));
      segment.close();
      return 0;
    } catch (Exception e) {
      Console.Error.WriteLine("queue: " + e.Message);
      return 1;
    }
  }
}
