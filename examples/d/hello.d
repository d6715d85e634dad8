// A record that any language reads, and frees: see ../README.md.
//
//   hello write NAME   allocate a record and a text, and wait for the end of the standard input
//   hello read NAME    check them, free both
//   hello churn NAME   allocate and free until the standard input ends
module hello;

import core.atomic : atomicLoad, atomicStore;
import core.thread : Thread;
import std.algorithm : startsWith;
import std.random : uniform;
import std.stdio;
import psm.psm;

enum ulong MAGIC = 0x50534d2d48454c4f;
immutable TEXT = cast(immutable(ubyte)[])"hello from d";

void check(string what, bool holds) {
  if (!holds) throw new Exception("wrong: " ~ what);
}

void waitForInput() {
  foreach (chunk; stdin.byChunk(4096)) { }
}

void write(Segment segment) {
  ulong text = segment.alloc(TEXT.length);
  segment.write(text, TEXT);
  ulong record = segment.calloc(1, 64);
  segment.pokeU64(record, MAGIC);
  segment.pokeU64(record + 8, text);
  segment.pokeU64(record + 16, TEXT.length);
  segment.pokeU64(record + 24, record);
  segment.pokeI64(record + 32, -42);
  segment.pokeF64(record + 40, 2.5);
  segment.setUser(record); // last: now others find it
  writeln("wrote ", record);
  stdout.flush();
  waitForInput();
}

void read(Segment segment) {
  ulong record = segment.root();
  check("magic", segment.peekU64(record) == MAGIC);
  check("its own address", segment.peekU64(record + 24) == record);
  check("offset", segment.address(segment.offset(record)) == record);
  check("integer", segment.peekI64(record + 32) == -42);
  check("double", segment.peekF64(record + 40) == 2.5);
  check("zeros", segment.read(record + 48, 16) == new ubyte[16]);
  ulong where = segment.peekU64(record + 8);
  auto text = cast(string)segment.read(where, segment.peekU64(record + 16)).idup;
  check("text", text.startsWith("hello from "));
  segment.free(where);
  segment.free(record);
  segment.setUser(0);
  segment.check();
  check("blocks", segment.stat("blocks") == 0);
  writeln("read ", record, " ", text);
}

shared bool ended;

void churn(Segment segment) {
  ulong[] kept;
  void giveBack() {
    ulong block = kept[0];
    kept = kept[1 .. $];
    check("a block", segment.peekU64(block) == block);
    segment.free(block);
  }
  auto input = new Thread({ waitForInput(); atomicStore(ended, true); });
  input.isDaemon = true;
  input.start();
  for (ulong turn = 1; !atomicLoad(ended); turn++) {
    ulong block = segment.alloc(uniform(16, 513));
    segment.pokeU64(block, block);
    kept ~= block;
    if (kept.length > 32) giveBack();
    if (turn % 1000 == 0) {
      writeln("turn ", turn);
      stdout.flush();
    }
  }
  while (kept.length) giveBack();
}

int main(string[] arguments) {
  auto roles = ["write": &write, "read": &read, "churn": &churn];
  if (arguments.length != 3 || arguments[1] !in roles) {
    stderr.writeln("usage: hello write|read|churn NAME");
    return 1;
  }
  try {
    string role = arguments[1], name = arguments[2];
    auto segment = role == "read" ? Segment.open(name, 0, OPEN_JOIN, 0, 0) : new Segment(name, 4 << 20);
    roles[role](segment);
    segment.close();
    return 0;
  } catch (Exception e) {
    stderr.writeln("hello: ", e.msg);
    return 1;
  }
}
