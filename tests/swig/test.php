<?php
// The story of story.txt, and what only PHP can do wrong.
error_reporting(E_ALL);

[, $story, $prefix] = $argv;
$segments = $numbers = [];
$count = 0;

function result(bool $ok, string $what, string $why = ''): void {
  global $count;
  $count++;
  echo $ok ? "ok $count - $what\n" : "not ok $count - $what: $why\n";
}

// 64 bits; PHP would make a float of what its signed integers do not hold.
function number(string $word): int {
  $bits = bits_of(ltrim($word, '+-'));
  return $word[0] === '-' ? negated($bits) : $bits;
}

function bits_of(string $digits): int {
  $hex = str_starts_with($digits, '0x') ? substr($digits, 2) : dechex((int)$digits);
  return unpack('J', hex2bin(str_pad($hex, 16, '0', STR_PAD_LEFT)))[1];
}

function negated(int $n): int {
  return $n === PHP_INT_MIN ? $n : -$n;
}

function value(string $word): mixed {
  global $numbers, $prefix;
  if (preg_match('/^([bftn]):(.*)$/', $word, $m)) {
    return match ($m[1]) {
      'b' => hex2bin($m[2]), 'f' => (float)$m[2], 't' => $m[2], 'n' => $prefix . $m[2],
    };
  }
  if ($word === 'true' || $word === 'false') return $word === 'true';
  if (preg_match('/^\$(\w+?)([-+]\d+)?$/', $word, $m)) return $numbers[$m[1]] + (int)($m[2] ?? 0);
  return number($word);
}

function step(array $words): void {
  global $segments, $numbers;
  $verb = array_shift($words);
  $what = array_shift($words);
  if ($verb === 'fails') {
    try {
      step($words);
    } catch (Exception | TypeError $e) {
      if ($what === '*' || str_contains($e->getMessage(), "($what)")) return;
      throw new Error('failed with ' . $e->getMessage());
    }
    throw new Error('did not fail');
  }
  if ($verb === 'new') {
    $segments[$what] = new Segment(...array_map('value', $words));
    return;
  }
  if ($verb === 'open') {
    $segments[$what] = Segment::open(...array_map('value', $words));
    return;
  }
  [$name, $method] = explode('.', $verb === 'do' ? $what : array_shift($words));
  $got = $segments[$name]->$method(...array_map('value', $words));
  if ($verb === 'let') $numbers[$what] = $got;
  if ($verb === 'is' && $got !== value($what)) throw new Error('got ' . var_export($got, true));
}

foreach (file($story, FILE_IGNORE_NEW_LINES) as $line) {
  if (trim($line) === '' || $line[0] === '#') continue;
  try {
    step(preg_split('/\s+/', trim($line)));
    result(true, $line);
  } catch (Throwable $e) {
    result(false, $line, $e->getMessage());
  }
}

// ---- What only PHP can do wrong

$s = new Segment("{$prefix}own", 1048576);
$block = $s->alloc(64);

function refused(string $what, callable $call): void {
  try {
    $call();
    result(false, "refused: $what", 'it was not');
  } catch (Throwable) {
    result(true, "refused: $what");
  }
}
refused('text as a size', fn() => $s->alloc('16'));
refused('null as a size', fn() => $s->alloc(null));
refused('a fraction as a size', fn() => $s->alloc(1.5));
refused('an array as a size', fn() => $s->alloc([1]));
refused('too few arguments', fn() => $s->alloc());
refused('too many arguments', fn() => $s->alloc(1, 2));
refused('a number as bytes', fn() => $s->write($block, 5));
refused('null as bytes', fn() => $s->write($block, null));
refused('a copy', fn() => (clone $s)->alloc(1));
refused('null as a name', fn() => new Segment(null, 1048576));
result(lastError() === 'PSM_E_NAME' && lastError() === '', 'lastError, once');
result((bool)preg_match('/^\d+\.\d+\.\d+$/', libraryVersion()), 'libraryVersion');
result(str_starts_with($s->members(), $s->memberId() . ' ' . getmypid() . ' '), 'members', $s->members());
echo "1..$count\n";
