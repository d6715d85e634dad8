// The story of story.txt, and what only C# can do wrong.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Text.RegularExpressions;
using System.Threading;
using Psm;

static class Test {
  static readonly Dictionary<string, Segment> segments = new Dictionary<string, Segment>();
  static readonly Dictionary<string, ulong> numbers = new Dictionary<string, ulong>();
  static string prefix;
  static int count;

  static void Result(bool ok, string what, object why = null) {
    count++;
    Console.WriteLine((ok ? "ok " : "not ok ") + count + " - " + what + (ok ? "" : ": " + why));
  }

  static ulong Number(string word) {
    string digits = word.TrimStart('-', '+');
    ulong n = digits.StartsWith("0x") ? ulong.Parse(digits.Substring(2), NumberStyles.HexNumber)
        : ulong.Parse(digits);
    return word[0] == '-' ? unchecked(0 - n) : n;
  }

  static object Value(string word) {
    string rest = word.Length > 1 ? word.Substring(2) : "";
    if (word == "true" || word == "false") return word == "true";
    if (word.StartsWith("b:"))
      return Enumerable.Range(0, rest.Length / 2)
          .Select(i => Convert.ToByte(rest.Substring(2 * i, 2), 16)).ToArray();
    if (word.StartsWith("f:")) return double.Parse(rest, CultureInfo.InvariantCulture);
    if (word.StartsWith("t:")) return rest;
    if (word.StartsWith("n:")) return prefix + rest;
    if (word[0] != '$') return Number(word);
    Match m = Regex.Match(word, @"^\$(\w+?)([-+]\d+)?$");
    ulong more = m.Groups[2].Length > 0 ? Number(m.Groups[2].Value) : 0;
    return unchecked(numbers[m.Groups[1].Value] + more);
  }

  // A number of the story has 64 bits; a parameter says how it sees them.
  static object[] Values(IEnumerable<string> words, MethodBase method) {
    return words.Select(Value).Zip(method.GetParameters(), (value, parameter) =>
        value is ulong && parameter.ParameterType == typeof(long)
            ? unchecked((long)(ulong)value) : value).ToArray();
  }

  static object Invoke(Func<object> call) {
    try {
      return call();
    } catch (TargetInvocationException e) {
      throw e.InnerException;
    }
  }

  static bool Same(object got, object wanted) {
    if (wanted is byte[]) return ((byte[])wanted).SequenceEqual((byte[])got);
    if (!(wanted is ulong)) return wanted.Equals(got);
    return (got is ulong ? (ulong)got : unchecked((ulong)Convert.ToInt64(got))) == (ulong)wanted;
  }

  static void Step(string[] words) {
    string verb = words[0], what = words[1];
    if (verb == "fails") {
      try {
        Step(words.Skip(2).ToArray());
      } catch (PsmException e) {
        if (what == "*" || what == e.Code) return;
        throw new Exception("failed with " + e.Message);
      }
      throw new Exception("did not fail");
    }
    if (verb == "new") {
      var make = typeof(Segment).GetConstructor(new[] {typeof(string), typeof(ulong)});
      segments[what] = (Segment)Invoke(() => make.Invoke(Values(words.Skip(2), make)));
      return;
    }
    if (verb == "open") {
      var open = typeof(Segment).GetMethod("open");
      segments[what] = (Segment)Invoke(() => open.Invoke(null, Values(words.Skip(2), open)));
      return;
    }
    int at = verb == "do" ? 1 : 2;
    string[] target = words[at].Split('.');
    var method = typeof(Segment).GetMethod(target[1]);
    object got = Invoke(() => method.Invoke(segments[target[0]], Values(words.Skip(at + 1), method)));
    if (verb == "let") numbers[what] = (ulong)got;
    if (verb == "is" && !Same(got, Value(what))) throw new Exception("got " + got);
  }

  static void Refused<E>(string what, Action call) where E : Exception {
    try {
      call();
      Result(false, "refused: " + what, "it was not");
    } catch (E) {
      Result(true, "refused: " + what);
    }
  }

  // ---- What only C# can do wrong

  static void Others() {
    var s = new Segment(prefix + "own", 1048576);
    ulong block = s.alloc(64);
    Refused<ArgumentNullException>("null as bytes", () => s.write(block, null));
    Refused<PsmException>("null as a name", () => new Segment(null, 1048576));
    Refused<PsmException>("null as a field", () => s.stat(null));
    s.write(block, new byte[0]);
    Result(psm.lastError() == "", "no lastError after success");
    Result(Regex.IsMatch(psm.libraryVersion(), @"^\d+\.\d+\.\d+$"), "libraryVersion");
    int pid = System.Diagnostics.Process.GetCurrentProcess().Id;
    Result(s.members().StartsWith(s.memberId() + " " + pid + " "), "members", s.members());
    ClosedByAnother();
    for (int i = 0; i < 2000; i++) new Segment(prefix + "own", 1048576);
    GC.Collect();
    GC.WaitForPendingFinalizers();
    s.check();
    Result(true, "2000 objects for the collector");
    s.Dispose();
    Refused<PsmException>("a disposed object", () => s.alloc(1));
    s.Dispose();
    Result(true, "disposed twice");
  }

  static void ClosedByAnother() {
    for (int turn = 0; turn < 50; turn++) {
      var shared = new Segment(prefix + "shared", 1048576);
      string wrong = null;
      var users = Enumerable.Range(0, 3).Select(i => new Thread(() => {
        try {
          while (true) {
            ulong own = shared.alloc(100);
            shared.pokeU64(own, own);
            shared.free(own);
          }
        } catch (PsmException e) {
          if (e.Code != "PSM_E_HANDLE") wrong = e.Message;
        }
      })).ToList();
      users.ForEach(user => user.Start());
      Thread.Sleep(1);
      shared.close();
      users.ForEach(user => user.Join());
      if (wrong != null) throw new Exception(wrong);
    }
    Result(true, "closed while other threads use it");
  }

  static void Main(string[] arguments) {
    prefix = arguments[1];
    foreach (string line in File.ReadAllLines(arguments[0])) {
      if (line.Trim() == "" || line[0] == '#') continue;
      try {
        Step(line.Split(new[] {' '}, StringSplitOptions.RemoveEmptyEntries));
        Result(true, line);
      } catch (Exception e) {
        Result(false, line, e.Message);
      }
    }
    Others();
    Console.WriteLine("1.." + count);
  }
}
