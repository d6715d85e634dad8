// The story of story.txt, and what only D can do wrong.
module test;

import std.algorithm : canFind, splitter, startsWith;
import std.array : array, split;
import std.conv : to;
import std.format : format;
import std.process : thisProcessID;
import std.stdio;
import std.string : indexOf, indexOfAny, strip, stripLeft;
import std.traits : Parameters, ReturnType;
import psm.psm;

Segment[string] segments;
ulong[string] numbers;
string prefix;
int count;

void result(bool ok, string what, lazy string why = "") {
  count++;
  writeln(ok ? format("ok %d - %s", count, what) : format("not ok %d - %s: %s", count, what, why));
}

ulong number(string word) {
  string digits = word.stripLeft("+-");
  ulong n = digits.startsWith("0x") ? digits[2 .. $].to!ulong(16) : digits.to!ulong;
  return word[0] == '-' ? -n : n;
}

ubyte[] bytes(string hex) {
  ubyte[] list;
  for (size_t at = 0; at < hex.length; at += 2) list ~= hex[at .. at + 2].to!ubyte(16);
  return list;
}

ulong integer(string word) {
  if (word[0] != '$') return number(word);
  auto at = word.indexOfAny("+-");
  return at < 0 ? numbers[word[1 .. $]] : numbers[word[1 .. at]] + number(word[at .. $]);
}

// A word of the story as a parameter of this type.
T value(T)(string word) {
  static if (is(T == bool)) return word == "true";
  else static if (is(T == string)) return (word.startsWith("n:") ? prefix : "") ~ word[2 .. $];
  else static if (is(T : const(ubyte)[])) return bytes(word[2 .. $]);
  else static if (is(T == double)) return word[2 .. $].to!double;
  else return cast(T)integer(word);
}

auto values(T...)(string[] words) {
  import std.typecons : Tuple;
  Tuple!T list;
  if (words.length != T.length) throw new Error("the story has another number of arguments");
  static foreach (i; 0 .. T.length) list[i] = value!(T[i])(words[i]);
  return list;
}

// Call a method; give its result to `keep`, and compare it with `wanted`.
void call(string target, string[] words, string keep, string wanted) {
  auto parts = target.split(".");
  auto segment = segments[parts[0]];
  switch (parts[1]) {
    static foreach (name; __traits(derivedMembers, Segment)) {
      static if (__traits(isVirtualMethod, __traits(getMember, Segment, name))
                 && !["dispose", "toString", "opEquals"].canFind(name)) {
        case name: {
          alias method = __traits(getMember, Segment, name);
          auto arguments = values!(Parameters!method)(words);
          static if (is(ReturnType!method == void)) __traits(getMember, segment, name)(arguments.expand);
          else {
            auto got = __traits(getMember, segment, name)(arguments.expand);
            static if (is(typeof(got) == ulong)) if (keep) numbers[keep] = got;
            if (wanted && got != value!(typeof(got))(wanted)) throw new Error(format("got %s", got));
          }
          return;
        }
      }
    }
    default: throw new Error("no method " ~ parts[1]);
  }
}

void fails(string code, string[] words) {
  try {
    step(words);
  } catch (Exception e) {
    if (code == "*" || e.msg.canFind("(" ~ code ~ ")")) return;
    throw new Error("failed with " ~ e.msg);
  }
  throw new Error("did not fail");
}

void step(string[] words) {
  string verb = words[0], what = words[1];
  switch (verb) {
    case "fails": return fails(what, words[2 .. $]);
    case "new":
      segments[what] = new Segment(values!(string, ulong)(words[2 .. $]).expand);
      return;
    case "open":
      segments[what] = Segment.open(values!(Parameters!(Segment.open))(words[2 .. $]).expand);
      return;
    case "do": return call(what, words[2 .. $], null, null);
    case "let": return call(words[2], words[3 .. $], what, null);
    default: return call(words[2], words[3 .. $], null, what);
  }
}

void refused(string what, void delegate() call) {
  try {
    call();
    result(false, "refused: " ~ what, "it was not");
  } catch (Exception) {
    result(true, "refused: " ~ what);
  }
}

// ---- What only D can do wrong

void others() {
  auto s = new Segment(prefix ~ "own", 1_048_576);
  ulong block = s.alloc(64);
  s.write(block, null);
  result(true, "null for no bytes");
  refused("null as a name", { new Segment(null, 1_048_576); });
  refused("null as a field", { s.stat(null); });
  result(lastError() == "PSM_E_INVALID" && lastError() == "", "lastError, once");
  result(s.members().startsWith(format("%d %d ", s.memberId(), thisProcessID)), "members", s.members());
  s.dispose();
  refused("a disposed object", { s.alloc(1); });
  s.dispose();
  result(true, "disposed twice");
}

void main(string[] arguments) {
  prefix = arguments[2];
  foreach (line; File(arguments[1]).byLineCopy) {
    if (line.strip == "" || line[0] == '#') continue;
    string why;
    try step(line.split);
    catch (Throwable e) why = e.msg;
    result(why is null, line, why);
  }
  others();
  writefln("1..%d", count);
}
