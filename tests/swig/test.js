// The story of story.txt, and what only JavaScript can do wrong.
'use strict';
const psm = require('psm');

const [story, prefix] = process.argv.slice(2);
const segments = {}, numbers = {};
let count = 0;

function result(ok, what, why) {
  count++;
  console.log(ok ? `ok ${count} - ${what}` : `not ok ${count} - ${what}: ${why}`);
}

function number(word) {
  return word.startsWith('-') ? -BigInt(word.slice(1)) : BigInt(word);
}

function value(word) {
  const [, kind, rest] = word.match(/^([bftn]):(.*)$/) || [];
  if (kind === 'b') return Buffer.from(rest, 'hex');
  if (kind === 'f') return Number(rest);
  if (kind === 't') return rest;
  if (kind === 'n') return prefix + rest;
  if (word === 'true' || word === 'false') return word === 'true';
  const [, name, more] = word.match(/^\$(\w+?)([-+]\d+)?$/) || [];
  if (name) return numbers[name] + number((more || '0').replace('+', ''));
  return number(word);
}

function same(got, wanted) {
  if (Buffer.isBuffer(wanted)) return wanted.equals(got);
  return typeof wanted === 'bigint' ? BigInt(got) === wanted : got === wanted;
}

function step([verb, ...words]) {
  if (verb === 'fails') {
    const code = words.shift();
    try {
      step(words);
    } catch (error) {
      if (code === '*' || error.code === code) return;
      throw new Error(`failed with ${error.message}`);
    }
    throw new Error('did not fail');
  }
  const what = words.shift();
  if (verb === 'new') return void (segments[what] = new psm.Segment(...words.map(value)));
  if (verb === 'open') return void (segments[what] = psm.Segment.open(...words.map(value)));
  const [name, method] = (verb === 'do' ? what : words.shift()).split('.');
  const got = segments[name][method](...words.map(value));
  if (verb === 'let') numbers[what] = got;
  if (verb === 'is' && !same(got, value(what))) throw new Error(`got ${got}`);
}

for (const line of require('fs').readFileSync(story, 'utf8').split('\n')) {
  if (/^(#|\s*$)/.test(line)) continue;
  try {
    step(line.trim().split(/\s+/));
    result(true, line);
  } catch (error) {
    result(false, line, error.message);
  }
}

// ---- What only JavaScript can do wrong

const s = new psm.Segment(prefix + 'own', 1048576);
const block = s.alloc(64);

function refused(what, call) {
  try {
    call();
  } catch (error) {
    return result(true, `refused: ${what}`);
  }
  result(false, `refused: ${what}`, 'it was not');
}
refused('text as a size', () => s.alloc('16'));
refused('undefined as a size', () => s.alloc(undefined));
refused('null as a size', () => s.alloc(null));
refused('NaN', () => s.alloc(NaN));
refused('a fraction', () => s.alloc(1.5));
refused('a Number that is not exact', () => s.pokeU64(block, 2 ** 60));
refused('a negative Number', () => s.alloc(-1));
refused('a BigInt beyond 64 bits', () => s.pokeU64(block, 1n << 64n));
refused('a negative BigInt for an unsigned number', () => s.pokeU64(block, -1n));
refused('too few arguments', () => s.alloc());
refused('too many arguments', () => s.alloc(1, 2));
refused('text as bytes', () => s.write(block, 'text'));
refused('undefined as bytes', () => s.write(block, undefined));
refused('a plain object as self', () => s.alloc.call({}, 1));
refused('a native object as self', () => s.alloc.call(process.stdout._handle || new Uint8Array(8), 1));
refused('a copy made by Object.create', () => Object.create(s).alloc(1));
refused('the constructor as a function', () => psm.Segment.call(new Uint8Array(8), prefix + 'own', 1048576));
refused('undefined as self', () => { const { alloc } = s; alloc(1); });
refused('undefined as a name', () => new psm.Segment(undefined, 1048576));
result(typeof s.peekU64(block) === 'bigint' && typeof block === 'bigint', '64 bits are a BigInt');
result(typeof s.peekU32(block) === 'number', '32 bits are a Number');
s.write(block, new Uint8Array([1, 2, 3]).subarray(1));
result(s.read(block, 2).equals(Buffer.from([2, 3])), 'a part of a Uint8Array');
result(psm.lastError() === '', 'no lastError after success');
result(/^\d+\.\d+\.\d+$/.test(psm.libraryVersion()), 'libraryVersion');
result(s.members().startsWith(`${s.memberId()} ${process.pid} `), 'members', s.members());
console.log(`1..${count}`);
