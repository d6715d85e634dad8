// A record that any language reads, and frees: see ../README.md.
//
//   hello write NAME   allocate a record and a text, and wait for the end of the standard input
//   hello read NAME    check them, free both
//   hello churn NAME   allocate and free until the standard input ends
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Random;
import psm.PsmException;
import psm.Segment;
import psm.psm;

class hello {
  static final long MAGIC = 0x50534d2d48454c4fL;
  static final byte[] TEXT = "hello from java".getBytes(StandardCharsets.UTF_8);

  static void check(String what, boolean holds) {
    if (!holds) {
      throw new IllegalStateException("wrong: " + what);
    }
  }

  static void waitForInput() {
    try {
      while (System.in.read() >= 0) { }
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  static void write(Segment segment) {
    long text = segment.alloc(TEXT.length);
    segment.write(text, TEXT);
    long record = segment.calloc(1, 64);
    segment.pokeU64(record, MAGIC);
    segment.pokeU64(record + 8, text);
    segment.pokeU64(record + 16, TEXT.length);
    segment.pokeU64(record + 24, record);
    segment.pokeI64(record + 32, -42);
    segment.pokeF64(record + 40, 2.5);
    segment.setUser(record); // last: now others find it
    System.out.println("wrote " + record);
    waitForInput();
  }

  static void read(Segment segment) {
    long record = segment.root();
    check("magic", segment.peekU64(record) == MAGIC);
    check("its own address", segment.peekU64(record + 24) == record);
    check("offset", segment.address(segment.offset(record)) == record);
    check("integer", segment.peekI64(record + 32) == -42);
    check("double", segment.peekF64(record + 40) == 2.5);
    check("zeros", Arrays.equals(segment.read(record + 48, 16), new byte[16]));
    long where = segment.peekU64(record + 8);
    byte[] bytes = segment.read(where, segment.peekU64(record + 16));
    String text = new String(bytes, StandardCharsets.UTF_8);
    check("text", text.matches("hello from \\w+"));
    segment.free(where);
    segment.free(record);
    segment.setUser(0);
    segment.check();
    check("blocks", segment.stat("blocks") == 0);
    System.out.println("read " + record + " " + text);
  }

  static void giveBack(Segment segment, long block) {
    check("a block", segment.peekU64(block) == block);
    segment.free(block);
  }

  static void churn(Segment segment) {
    Thread input = new Thread(hello::waitForInput);
    input.setDaemon(true);
    input.start();
    ArrayDeque<Long> kept = new ArrayDeque<>();
    Random random = new Random();
    for (long turn = 1; input.isAlive(); turn++) {
      long block = segment.alloc(16 + random.nextInt(497));
      segment.pokeU64(block, block);
      kept.add(block);
      if (kept.size() > 32) {
        giveBack(segment, kept.remove());
      }
      if (turn % 1000 == 0) {
        System.out.println("turn " + turn);
      }
    }
    kept.forEach(block -> giveBack(segment, block));
  }

  static void run(String role, String name) {
    Segment segment = role.equals("read") ? Segment.open(name, 0, psm.OPEN_JOIN, 0, 0)
        : new Segment(name, 4 << 20);
    switch (role) {
      case "write": write(segment); break;
      case "read": read(segment); break;
      default: churn(segment);
    }
    segment.close();
  }

  public static void main(String[] arguments) {
    if (arguments.length != 2 || !arguments[0].matches("write|read|churn")) {
      System.err.println("usage: hello write|read|churn NAME");
      System.exit(1);
    }
    try {
      run(arguments[0], arguments[1]);
    } catch (IllegalStateException | PsmException e) {
      System.err.println("hello: " + e.getMessage());
      System.exit(1);
    }
  }
}
