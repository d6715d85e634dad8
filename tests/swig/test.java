// The story of story.txt, and what only Java can do wrong.
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import psm.PsmException;
import psm.Segment;
import psm.psm;

class test {
  interface Call {
    void run() throws Exception;
  }

  static final Map<String, Segment> segments = new HashMap<>();
  static final Map<String, Long> numbers = new HashMap<>();
  static String prefix;
  static int count;

  static void result(boolean ok, String what, Object why) {
    count++;
    System.out.println((ok ? "ok " : "not ok ") + count + " - " + what + (ok ? "" : ": " + why));
  }

  static long number(String word) {
    boolean negative = word.startsWith("-");
    String digits = word.replaceFirst("^[-+]", "");
    long n = digits.startsWith("0x") ? Long.parseUnsignedLong(digits.substring(2), 16)
        : Long.parseUnsignedLong(digits);
    return negative ? -n : n;
  }

  static byte[] bytes(String hex) {
    byte[] bytes = new byte[hex.length() / 2];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
    }
    return bytes;
  }

  static Object value(String word) {
    switch (word.length() > 1 && word.charAt(1) == ':' ? word.charAt(0) : ' ') {
      case 'b': return bytes(word.substring(2));
      case 'f': return Double.valueOf(word.substring(2));
      case 't': return word.substring(2);
      case 'n': return prefix + word.substring(2);
      default: break;
    }
    if (word.equals("true") || word.equals("false")) {
      return Boolean.valueOf(word);
    }
    if (word.startsWith("$")) {
      String[] parts = word.substring(1).split("(?=[-+])", 2);
      return numbers.get(parts[0]) + (parts.length > 1 ? number(parts[1]) : 0);
    }
    return number(word);
  }

  static Object[] values(List<String> words) {
    return words.stream().map(test::value).toArray();
  }

  static Segment opened(String verb, Object[] v) {
    return verb.equals("new") ? new Segment((String) v[0], (Long) v[1])
        : Segment.open((String) v[0], (Long) v[1], (Long) v[2], (Long) v[3], (Long) v[4]);
  }

  static Object call(String target, Object[] values) throws Exception {
    String[] parts = target.split("\\.");
    for (Method method : Segment.class.getMethods()) {
      if (method.getName().equals(parts[1]) && method.getParameterCount() == values.length) {
        try {
          return method.invoke(segments.get(parts[0]), values);
        } catch (InvocationTargetException e) {
          throw (Exception) e.getCause();
        }
      }
    }
    throw new NoSuchMethodException(target);
  }

  static boolean same(Object got, Object wanted) {
    if (wanted instanceof byte[]) {
      return Arrays.equals((byte[]) got, (byte[]) wanted);
    }
    return wanted instanceof Long ? ((Number) got).longValue() == (Long) wanted : wanted.equals(got);
  }

  static void step(List<String> words) throws Exception {
    String verb = words.get(0);
    String what = words.get(1);
    if (verb.equals("fails")) {
      try {
        step(words.subList(2, words.size()));
      } catch (PsmException e) {
        if (what.equals("*") || what.equals(e.code())) {
          return;
        }
        throw new Exception("failed with " + e.getMessage(), e);
      }
      throw new Exception("did not fail");
    }
    if (verb.equals("new") || verb.equals("open")) {
      segments.put(what, opened(verb, values(words.subList(2, words.size()))));
      return;
    }
    int at = verb.equals("do") ? 1 : 2;
    Object got = call(words.get(at), values(words.subList(at + 1, words.size())));
    if (verb.equals("let")) {
      numbers.put(what, (Long) got);
    }
    if (verb.equals("is") && !same(got, value(what))) {
      throw new Exception("got " + got);
    }
  }

  static void refused(String what, Class<? extends Throwable> how, Call call) {
    try {
      call.run();
      result(false, "refused: " + what, "it was not");
    } catch (Throwable e) {
      result(how.isInstance(e), "refused: " + what, e);
    }
  }

  // ---- What only Java can do wrong

  static void others() throws Exception {
    Segment s = new Segment(prefix + "own", 1048576);
    long block = s.alloc(64);
    refused("null as bytes", PsmException.class, () -> s.write(block, null));
    refused("null as a name", PsmException.class, () -> new Segment(null, 1048576));
    refused("null as a field", PsmException.class, () -> s.stat(null));
    s.pokeU64(block, Long.parseUnsignedLong("18446744073709551615"));
    result(Long.toUnsignedString(s.peekU64(block)).equals("18446744073709551615"),
        "unsigned numbers are the bits of a long", s.peekU64(block));
    result(psm.lastError().isEmpty(), "no lastError after success", psm.lastError());
    result(psm.libraryVersion().matches("\\d+\\.\\d+\\.\\d+"), "libraryVersion", "");
    result(s.members().startsWith(s.memberId() + " " + ProcessHandle.current().pid() + " "),
        "members", s.members());
    closedByAnother();
    for (int i = 0; i < 3000; i++) { // the collector closes what nobody holds
      new Segment(prefix + "own", 1048576);
      if (i % 500 == 0) {
        System.gc();
      }
    }
    s.check();
    result(true, "3000 objects for the collector", "");
    s.delete();
    refused("a deleted object", PsmException.class, () -> s.alloc(1));
    s.delete();
    result(true, "deleted twice", "");
  }

  static void closedByAnother() throws Exception {
    for (int turn = 0; turn < 50; turn++) {
      Segment shared = new Segment(prefix + "shared", 1048576);
      Thread[] users = new Thread[3];
      for (int i = 0; i < users.length; i++) {
        users[i] = new Thread(() -> {
          try {
            while (true) {
              long own = shared.alloc(100);
              shared.pokeU64(own, own);
              shared.free(own);
            }
          } catch (PsmException e) {
            if (!e.code().equals("PSM_E_HANDLE")) {
              throw e;
            }
          }
        });
        users[i].start();
      }
      Thread.sleep(1);
      shared.close();
      for (Thread user : users) {
        user.join();
      }
    }
    result(true, "closed while other threads use it", "");
  }

  public static void main(String[] arguments) throws Exception {
    prefix = arguments[1];
    for (String line : Files.readAllLines(Path.of(arguments[0]), StandardCharsets.UTF_8)) {
      if (line.isBlank() || line.startsWith("#")) {
        continue;
      }
      try {
        step(List.of(line.split("\\s+")));
        result(true, line, "");
      } catch (Exception e) {
        result(false, line, e);
      }
    }
    others();
    System.out.println("1.." + count);
  }
}
