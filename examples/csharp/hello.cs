// A record that any language reads, and frees: see ../README.md.
//
//   hello write NAME   allocate a record and a text, and wait for the end of the standard input
//   hello read NAME    check them, free both
//   hello churn NAME   allocate and free until the standard input ends
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading;
using Psm;

static class Hello {
  const ulong Magic = 0x50534d2d48454c4f;
  static readonly byte[] Text = Encoding.UTF8.GetBytes("hello from csharp");

  static void Check(string what, bool holds) {
    if (!holds) throw new Exception("wrong: " + what);
  }

  static void Write(Segment segment) {
    ulong text = segment.alloc((ulong)Text.Length);
    segment.write(text, Text);
    ulong record = segment.calloc(1, 64);
    segment.pokeU64(record, Magic);
    segment.pokeU64(record + 8, text);
    segment.pokeU64(record + 16, (ulong)Text.Length);
    segment.pokeU64(record + 24, record);
    segment.pokeI64(record + 32, -42);
    segment.pokeF64(record + 40, 2.5);
    segment.setUser(record); // last: now others find it
    Console.WriteLine("wrote " + record);
    Console.Out.Flush();
    Console.In.ReadToEnd();
  }

  static void Read(Segment segment) {
    ulong record = segment.root();
    Check("magic", segment.peekU64(record) == Magic);
    Check("its own address", segment.peekU64(record + 24) == record);
    Check("offset", segment.address(segment.offset(record)) == record);
    Check("integer", segment.peekI64(record + 32) == -42);
    Check("double", segment.peekF64(record + 40) == 2.5);
    Check("zeros", segment.read(record + 48, 16).SequenceEqual(new byte[16]));
    ulong where = segment.peekU64(record + 8);
    string text = Encoding.UTF8.GetString(segment.read(where, segment.peekU64(record + 16)));
    Check("text", Regex.IsMatch(text, @"^hello from \w+$"));
    segment.free(where);
    segment.free(record);
    segment.setUser(0);
    segment.check();
    Check("blocks", segment.stat("blocks") == 0);
    Console.WriteLine("read " + record + " " + text);
  }

  static void GiveBack(Segment segment, ulong block) {
    Check("a block", segment.peekU64(block) == block);
    segment.free(block);
  }

  static void Churn(Segment segment) {
    var input = new Thread(() => Console.In.ReadToEnd()) {IsBackground = true};
    input.Start();
    var kept = new Queue<ulong>();
    var random = new Random();
    for (long turn = 1; input.IsAlive; turn++) {
      ulong block = segment.alloc((ulong)random.Next(16, 513));
      segment.pokeU64(block, block);
      kept.Enqueue(block);
      if (kept.Count > 32) GiveBack(segment, kept.Dequeue());
      if (turn % 1000 == 0) {
        Console.WriteLine("turn " + turn);
        Console.Out.Flush();
      }
    }
    foreach (ulong block in kept) GiveBack(segment, block);
  }

  static int Main(string[] arguments) {
    var roles = new Dictionary<string, Action<Segment>> {
      {"write", Write}, {"read", Read}, {"churn", Churn}};
    if (arguments.Length != 2 || !roles.ContainsKey(arguments[0])) {
      Console.Error.WriteLine("usage: hello write|read|churn NAME");
      return 1;
    }
    try {
      string role = arguments[0], name = arguments[1];
      var segment = role == "read" ? Segment.open(name, 0, psm.OPEN_JOIN, 0, 0)
          : new Segment(name, 4 << 20);
      roles[role](segment);
      segment.close();
      return 0;
    } catch (Exception e) {
      Console.Error.WriteLine("hello: " + e.Message);
      return 1;
    }
  }
}
