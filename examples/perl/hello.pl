# A record that any language reads, and frees: see ../README.md.
#
#   hello write NAME   allocate a record and a text, and wait for the end of the standard input
#   hello read NAME    check them, free both
#   hello churn NAME   allocate and free until the standard input ends
use strict;
use warnings;
no warnings 'portable'; # numbers have 64 bits here
use psm;

use constant {MAGIC => 0x50534d2d48454c4f, SIZE => 4 << 20};
my $TEXT = 'hello from perl';
$| = 1;

sub check { my ($what, $holds) = @_; die "wrong: $what\n" if !$holds }

sub write_record {
  my ($segment) = @_;
  my $text = $segment->alloc(length $TEXT);
  $segment->write($text, $TEXT);
  my $record = $segment->calloc(1, 64);
  $segment->pokeU64($record, MAGIC);
  $segment->pokeU64($record + 8, $text);
  $segment->pokeU64($record + 16, length $TEXT);
  $segment->pokeU64($record + 24, $record);
  $segment->pokeI64($record + 32, -42);
  $segment->pokeF64($record + 40, 2.5);
  $segment->setUser($record); # last: now others find it
  print "wrote $record\n";
  1 while <STDIN>;
}

sub read_record {
  my ($segment) = @_;
  my $record = $segment->root;
  check('magic', $segment->peekU64($record) == MAGIC);
  check('its own address', $segment->peekU64($record + 24) == $record);
  check('offset', $segment->address($segment->offset($record)) == $record);
  check('integer', $segment->peekI64($record + 32) == -42);
  check('double', $segment->peekF64($record + 40) == 2.5);
  check('zeros', $segment->read($record + 48, 16) eq "\0" x 16);
  my $where = $segment->peekU64($record + 8);
  my $text = $segment->read($where, $segment->peekU64($record + 16));
  check('text', $text =~ /^hello from \w+$/);
  $segment->free($where);
  $segment->free($record);
  $segment->setUser(0);
  $segment->check;
  check('blocks', $segment->stat('blocks') == 0);
  print "read $record $text\n";
}

sub input_ended {
  vec(my $readable = '', fileno(STDIN), 1) = 1;
  return select($readable, undef, undef, 0) && !sysread(STDIN, my $byte, 1);
}

sub churn {
  my ($segment) = @_;
  my @kept;
  my $give_back = sub {
    my $block = shift @kept;
    check('a block', $segment->peekU64($block) == $block);
    $segment->free($block);
  };
  for (my $turn = 1; ; $turn++) {
    my $block = $segment->alloc(16 + int rand 497);
    $segment->pokeU64($block, $block);
    push @kept, $block;
    $give_back->() if @kept > 32;
    next if $turn % 1000;
    print "turn $turn\n";
    last if input_ended();
  }
  $give_back->() while @kept;
}

my ($role, $name) = @ARGV;
my %roles = (write => \&write_record, read => \&read_record, churn => \&churn);
die "usage: hello write|read|churn NAME\n" if @ARGV != 2 || !$roles{$role};
my $ok = eval {
  my $segment = $role eq 'read' ? psm::Segment::open($name, 0, $psm::OPEN_JOIN, 0, 0)
    : psm::Segment->new($name, SIZE);
  $roles{$role}->($segment);
  $segment->close;
  1;
};
if (!$ok) {
  print STDERR "hello: $@";
  exit 1;
}
