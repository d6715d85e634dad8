// A record that any language reads, and frees: see ../README.md.
//
//   hello write NAME   allocate a record and a text, and wait for the end of the standard input
//   hello read NAME    check them, free both
//   hello churn NAME   allocate and free until the standard input ends
'use strict';
const psm = require('psm');

const MAGIC = 0x50534d2d48454c4fn;
const TEXT = Buffer.from('hello from node', 'utf8');

function check(what, holds) {
  if (!holds) throw new Error(`wrong: ${what}`);
}

function inputEnd() {
  return new Promise((resolve) => process.stdin.on('end', resolve).resume());
}

async function write(segment) {
  const text = segment.alloc(TEXT.length);
  segment.write(text, TEXT);
  const record = segment.calloc(1, 64);
  segment.pokeU64(record, MAGIC);
  segment.pokeU64(record + 8n, text);
  segment.pokeU64(record + 16n, TEXT.length);
  segment.pokeU64(record + 24n, record);
  segment.pokeI64(record + 32n, -42);
  segment.pokeF64(record + 40n, 2.5);
  segment.setUser(record); // last: now others find it
  console.log(`wrote ${record}`);
  await inputEnd();
}

function read(segment) {
  const record = segment.root();
  check('magic', segment.peekU64(record) === MAGIC);
  check('its own address', segment.peekU64(record + 24n) === record);
  check('offset', segment.address(segment.offset(record)) === record);
  check('integer', segment.peekI64(record + 32n) === -42n);
  check('double', segment.peekF64(record + 40n) === 2.5);
  check('zeros', segment.read(record + 48n, 16).equals(Buffer.alloc(16)));
  const where = segment.peekU64(record + 8n);
  const text = segment.read(where, segment.peekU64(record + 16n)).toString('utf8');
  check('text', /^hello from \w+$/.test(text));
  segment.free(where);
  segment.free(record);
  segment.setUser(0);
  segment.check();
  check('blocks', segment.stat('blocks') === 0n);
  console.log(`read ${record} ${text}`);
}

async function churn(segment) {
  const kept = [];
  const giveBack = () => {
    const block = kept.shift();
    check('a block', segment.peekU64(block) === block);
    segment.free(block);
  };
  let ended = false;
  inputEnd().then(() => { ended = true; });
  for (let turn = 1; !ended; turn++) {
    const block = segment.alloc(16 + Math.floor(Math.random() * 497));
    segment.pokeU64(block, block);
    kept.push(block);
    if (kept.length > 32) giveBack();
    if (turn % 1000 === 0) {
      console.log(`turn ${turn}`);
      await new Promise(setImmediate); // lets the end of the input be seen
    }
  }
  while (kept.length) giveBack();
}

async function main([role, name, ...more]) {
  const roles = {write, read, churn};
  if (!roles[role] || !name || more.length) throw new Error('usage: hello write|read|churn NAME');
  const segment = role === 'read' ? psm.Segment.open(name, 0, psm.OPEN_JOIN, 0, 0)
    : new psm.Segment(name, 4 << 20);
  await roles[role](segment);
  segment.close();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`hello: ${error.message}`);
  process.exit(1); // the input may still be open
});
