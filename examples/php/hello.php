<?php
// A record that any language reads, and frees: see ../README.md.
//
//   hello write NAME   allocate a record and a text, and wait for the end of the standard input
//   hello read NAME    check them, free both
//   hello churn NAME   allocate and free until the standard input ends

const MAGIC = 0x50534d2d48454c4f;
const TEXT = 'hello from php';

function check(string $what, bool $holds): void {
  if (!$holds) throw new Exception("wrong: $what");
}

function write(Segment $segment): void {
  $text = $segment->alloc(strlen(TEXT));
  $segment->write($text, TEXT);
  $record = $segment->calloc(1, 64);
  $segment->pokeU64($record, MAGIC);
  $segment->pokeU64($record + 8, $text);
  $segment->pokeU64($record + 16, strlen(TEXT));
  $segment->pokeU64($record + 24, $record);
  $segment->pokeI64($record + 32, -42);
  $segment->pokeF64($record + 40, 2.5);
  $segment->setUser($record); // last: now others find it
  echo "wrote $record\n";
  stream_get_contents(STDIN);
}

function read(Segment $segment): void {
  $record = $segment->root();
  check('magic', $segment->peekU64($record) === MAGIC);
  check('its own address', $segment->peekU64($record + 24) === $record);
  check('offset', $segment->address($segment->offset($record)) === $record);
  check('integer', $segment->peekI64($record + 32) === -42);
  check('double', $segment->peekF64($record + 40) === 2.5);
  check('zeros', $segment->read($record + 48, 16) === str_repeat("\0", 16));
  $where = $segment->peekU64($record + 8);
  $text = $segment->read($where, $segment->peekU64($record + 16));
  check('text', preg_match('/^hello from \w+$/', $text) === 1);
  $segment->free($where);
  $segment->free($record);
  $segment->setUser(0);
  $segment->check();
  check('blocks', $segment->stat('blocks') === 0);
  echo "read $record $text\n";
}

function inputEnded(): bool {
  $read = [STDIN];
  $write = $except = null;
  return stream_select($read, $write, $except, 0) > 0 && fgetc(STDIN) === false;
}

function churn(Segment $segment): void {
  $kept = [];
  $giveBack = function () use ($segment, &$kept): void {
    $block = array_shift($kept);
    check('a block', $segment->peekU64($block) === $block);
    $segment->free($block);
  };
  $turn = 0;
  do {
    $turn++;
    $block = $segment->alloc(random_int(16, 512));
    $segment->pokeU64($block, $block);
    $kept[] = $block;
    if (count($kept) > 32) $giveBack();
    if ($turn % 1000 === 0) echo "turn $turn\n";
  } while ($turn % 1000 !== 0 || !inputEnded());
  while ($kept) $giveBack();
}

if ($argc !== 3 || !in_array($argv[1], ['write', 'read', 'churn'], true)) {
  fwrite(STDERR, "usage: hello write|read|churn NAME\n");
  exit(1);
}
[, $role, $name] = $argv;
try {
  $segment = $role === 'read' ? Segment::open($name, 0, OPEN_JOIN, 0, 0)
    : new Segment($name, 4 << 20);
  $role($segment);
  $segment->close();
} catch (Exception $e) {
  fwrite(STDERR, "hello: {$e->getMessage()}\n");
  exit(1);
}
