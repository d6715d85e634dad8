# Records pass through a ring of addresses; who takes one frees it: see ../README.md.
#
#   queue produce NAME COUNT   make the ring if there is none, and put records
#   queue consume NAME COUNT   take and check them, and free the ring
#
# Every change under the lock ends with one store, of head or of tail, so the
# death of an owner leaves nothing to repair.
use strict;
use warnings;
no warnings 'portable'; # numbers have 64 bits here
use psm;

use constant {MAGIC => 0x50534d2d51554555, SIZE => 4 << 20, SLOTS => 64};
use constant {CAPACITY => 8, HEAD => 16, TAIL => 24, ARRAY => 32, LOCK => 40}; # offsets in the ring

sub check { my ($what, $holds) = @_; die "wrong: $what\n" if !$holds }
sub rest { select undef, undef, undef, 0.0005 }
sub payload { my ($i) = @_; return pack 'C*', map { ($i + $_) % 256 } 0 .. $i % 200 - 1 }

sub make_ring {
  my ($segment) = @_;
  my $ring = $segment->calloc(1, 64);
  $segment->pokeU64($ring, MAGIC);
  $segment->pokeU64($ring + CAPACITY, SLOTS);
  $segment->pokeU64($ring + ARRAY, $segment->calloc(SLOTS, 8));
  $segment->setUser($ring); # last: now others find it
}

sub put {
  my ($segment, $ring, $record) = @_;
  $segment->lockAt($ring + LOCK);
  my $head = $segment->peekU64($ring + HEAD);
  my $room = $head - $segment->peekU64($ring + TAIL) < SLOTS;
  if ($room) {
    $segment->pokeU64($segment->peekU64($ring + ARRAY) + $head % SLOTS * 8, $record);
    $segment->pokeU64($ring + HEAD, $head + 1);
  }
  $segment->unlockAt($ring + LOCK);
  return $room;
}

sub take {
  my ($segment, $ring) = @_;
  my $record;
  $segment->lockAt($ring + LOCK);
  my $tail = $segment->peekU64($ring + TAIL);
  if ($tail != $segment->peekU64($ring + HEAD)) {
    $record = $segment->peekU64($segment->peekU64($ring + ARRAY) + $tail % SLOTS * 8);
    $segment->pokeU64($ring + TAIL, $tail + 1);
  }
  $segment->unlockAt($ring + LOCK);
  return $record;
}

sub drained {
  my ($segment) = @_;
  my $ring = $segment->user;
  return $ring == 0 || $segment->peekU64($ring + HEAD) == $segment->peekU64($ring + TAIL);
}

sub produce {
  my ($segment, $count) = @_;
  my $sum = 0;
  make_ring($segment) if $segment->user == 0;
  my $ring = $segment->root;
  check('magic', $segment->peekU64($ring) == MAGIC);
  for my $i (0 .. $count - 1) {
    my $bytes = payload($i);
    my $record = $segment->alloc(16 + length $bytes);
    $segment->pokeU64($record, $i);
    $segment->pokeU64($record + 8, length $bytes);
    $segment->write($record + 16, $bytes);
    $sum += unpack '%32C*', $bytes;
    rest() until put($segment, $ring, $record);
  }
  rest() until drained($segment);
  print "produced $count $sum\n";
}

sub consume {
  my ($segment, $count) = @_;
  my $sum = 0;
  rest() until $segment->user;
  my $ring = $segment->root;
  check('magic', $segment->peekU64($ring) == MAGIC);
  for my $i (0 .. $count - 1) {
    my $record;
    rest() until defined($record = take($segment, $ring));
    my $bytes = $segment->read($record + 16, $segment->peekU64($record + 8));
    check('number', $segment->peekU64($record) == $i);
    check('bytes', $bytes eq payload($i));
    $sum += unpack '%32C*', $bytes;
    $segment->free($record);
  }
  $segment->setUser(0);
  $segment->free($segment->peekU64($ring + ARRAY));
  $segment->free($ring);
  print "consumed $count $sum\n";
}

sub join_when_there {
  my ($name) = @_;
  while (1) {
    my $segment = eval { psm::Segment::open($name, 0, $psm::OPEN_JOIN, 0, 0) };
    return $segment if $segment;
    die $@ if psm::lastError() ne 'PSM_E_NOT_FOUND';
    rest();
  }
}

my ($role, $name, $count) = @ARGV;
die "usage: queue produce|consume NAME COUNT\n" if @ARGV != 3 || $role !~ /^(produce|consume)$/;
my $ok = eval {
  my $segment = $role eq 'produce' ? psm::Segment->new($name, SIZE) : join_when_there($name);
  $role eq 'produce' ? produce($segment, $count) : consume($segment, $count);
  $segment->close;
  1;
};
if (!$ok) {
  print STDERR "queue: $@";
  exit 1;
}
