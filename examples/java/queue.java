// Records pass through a ring of addresses; who takes one frees it: see ../README.md.
//
//   queue produce NAME COUNT   make the ring if there is none, and put records
//   queue consume NAME COUNT   take and check them, and free the ring
//
// Every change under the lock ends with one store, of head or of tail, so the
// death of an owner leaves nothing to repair.
import java.util.Arrays;
import java.util.concurrent.locks.LockSupport;
import psm.PsmException;
import psm.Segment;
import psm.psm;

class queue {
  static final long MAGIC = 0x50534d2d51554555L;
  static final int SLOTS = 64;
  static final int CAPACITY = 8, HEAD = 16, TAIL = 24, ARRAY = 32, LOCK = 40; // offsets in the ring

  static Segment segment;

  static void check(String what, boolean holds) {
    if (!holds) {
      throw new IllegalStateException("wrong: " + what);
    }
  }

  static void rest() {
    LockSupport.parkNanos(200_000);
  }

  static byte[] payload(long i) {
    byte[] bytes = new byte[(int) (i % 200)];
    for (int k = 0; k < bytes.length; k++) {
      bytes[k] = (byte) (i + k);
    }
    return bytes;
  }

  static long sumOf(byte[] bytes) {
    long sum = 0;
    for (byte b : bytes) {
      sum += Byte.toUnsignedInt(b);
    }
    return sum;
  }

  static void makeRing() {
    long ring = segment.calloc(1, 64);
    segment.pokeU64(ring, MAGIC);
    segment.pokeU64(ring + CAPACITY, SLOTS);
    segment.pokeU64(ring + ARRAY, segment.calloc(SLOTS, 8));
    segment.setUser(ring); // last: now others find it
  }

  static long slot(long ring, long count) {
    return segment.peekU64(ring + ARRAY) + count % SLOTS * 8;
  }

  static boolean put(long ring, long record) {
    segment.lockAt(ring + LOCK);
    long head = segment.peekU64(ring + HEAD);
    boolean room = head - segment.peekU64(ring + TAIL) < SLOTS;
    if (room) {
      segment.pokeU64(slot(ring, head), record);
      segment.pokeU64(ring + HEAD, head + 1);
    }
    segment.unlockAt(ring + LOCK);
    return room;
  }

  static long take(long ring) {
    long record = 0;
    segment.lockAt(ring + LOCK);
    long tail = segment.peekU64(ring + TAIL);
    if (tail != segment.peekU64(ring + HEAD)) {
      record = segment.peekU64(slot(ring, tail));
      segment.pokeU64(ring + TAIL, tail + 1);
    }
    segment.unlockAt(ring + LOCK);
    return record;
  }

  static boolean drained() {
    long ring = segment.user();
    return ring == 0 || segment.peekU64(ring + HEAD) == segment.peekU64(ring + TAIL);
  }

  static void produce(long count) {
    long sum = 0;
    if (segment.user() == 0) {
      makeRing();
    }
    long ring = segment.root();
    check("magic", segment.peekU64(ring) == MAGIC);
    for (long i = 0; i < count; i++) {
      byte[] bytes = payload(i);
      long record = segment.alloc(16 + bytes.length);
      segment.pokeU64(record, i);
      segment.pokeU64(record + 8, bytes.length);
      segment.write(record + 16, bytes);
      sum += sumOf(bytes);
      while (!put(ring, record)) {
        rest();
      }
    }
    while (!drained()) {
      rest();
    }
    System.out.println("produced " + count + " " + sum);
  }

  static void consume(long count) {
    long sum = 0;
    while (segment.user() == 0) {
      rest();
    }
    long ring = segment.root();
    check("magic", segment.peekU64(ring) == MAGIC);
    for (long i = 0; i < count; i++) {
      long record = take(ring);
      for (; record == 0; record = take(ring)) {
        rest();
      }
      byte[] bytes = segment.read(record + 16, segment.peekU64(record + 8));
      check("number", segment.peekU64(record) == i);
      check("bytes", Arrays.equals(bytes, payload(i)));
      sum += sumOf(bytes);
      segment.free(record);
    }
    segment.setUser(0);
    segment.free(segment.peekU64(ring + ARRAY));
    segment.free(ring);
    System.out.println("consumed " + count + " " + sum);
  }

  static Segment joinWhenThere(String name) {
    while (true) {
      try {
        return Segment.open(name, 0, psm.OPEN_JOIN, 0, 0);
      } catch (PsmException e) {
        if (!e.code().equals("PSM_E_NOT_FOUND")) {
          throw e;
        }
      }
      rest();
    }
  }

  static void run(String role, String name, long count) {
    if (role.equals("produce")) {
      segment = new Segment(name, 4 << 20);
      produce(count);
    } else {
      segment = joinWhenThere(name);
      consume(count);
    }
    segment.close();
  }

  public static void main(String[] arguments) {
    if (arguments.length != 3 || !arguments[0].matches("produce|consume")) {
      System.err.println("usage: queue produce|consume NAME COUNT");
      System.exit(1);
    }
    try {
      run(arguments[0], arguments[1], Long.parseLong(arguments[2]));
    } catch (IllegalStateException | PsmException e) {
      System.err.println("queue: " + e.getMessage());
      System.exit(1);
    }
  }
}
