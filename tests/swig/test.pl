# The story of story.txt, and what only Perl can do wrong.
use strict;
use warnings;
use psm;

my ($story, $prefix) = @ARGV;
my (%segments, %numbers);
my $count = 0;

sub say_result {
  my ($ok, $what, $why) = @_;
  $count++;
  print $ok ? "ok $count - $what\n" : "not ok $count - $what: " . ($why // '') . "\n";
}

sub number {
  my ($sign, $digits) = $_[0] =~ /^(-?)(.*)$/;
  no warnings 'portable';
  my $n = $digits =~ /^0x/ ? hex $digits : $digits + 0;
  return $n if !$sign;
  return $n == 0x8000000000000000 ? -9223372036854775807 - 1 : -$n;
}

sub value {
  my ($word) = @_;
  return pack 'H*', $1 if $word =~ /^b:(.*)/;
  return $1 + 0 if $word =~ /^f:(.*)/;
  return $1 if $word =~ /^t:(.*)/;
  return "$prefix$1" if $word =~ /^n:(.*)/;
  return $word eq 'true' ? 1 : 0 if $word =~ /^(true|false)$/;
  return $numbers{$1} + number($2 || 0) if $word =~ /^\$(\w+?)((?:[-+]\d+)?)$/;
  return number($word);
}

sub step {
  my ($verb, @words) = @_;
  if ($verb eq 'fails') {
    my $code = shift @words;
    return if !eval { step(@words); 1 } && ($code eq '*' || $@ =~ /\($code\)/);
    die $@ ? "failed with $@" : "did not fail\n";
  }
  my $what = shift @words;
  if ($verb eq 'new' || $verb eq 'open') {
    my $make = $verb eq 'new' ? sub { psm::Segment->new(@_) } : \&psm::Segment::open;
    $segments{$what} = $make->(map { value($_) } @words);
    return;
  }
  my $wanted = $what;
  my $target = $verb eq 'do' ? $what : shift @words;
  my ($name, $method) = split /\./, $target;
  my $got = $segments{$name}->$method(map { value($_) } @words);
  $numbers{$what} = $got if $verb eq 'let';
  return if $verb ne 'is';
  my $same = $wanted =~ /^b:/ ? $got eq value($wanted)
    : $wanted =~ /^(true|false)$/ ? !!$got == !!value($wanted) : $got == value($wanted);
  die "got $got\n" if !$same;
}

open my $lines, '<', $story or die $!;
while (my $line = <$lines>) {
  next if $line =~ /^(#|\s*$)/;
  chomp $line;
  say_result(eval { step(split ' ', $line); 1 }, $line, $@);
}

# ---- What only Perl can do wrong

my $s = psm::Segment->new("${prefix}own", 1048576);
my $block = $s->alloc(64);

sub refused {
  my ($what, $call) = @_;
  my $failed = !eval { $call->(); 1 };
  say_result($failed, "refused: $what", 'it was not');
}
refused('text as a size', sub { $s->alloc('many') });
refused('a reference as an address', sub { $s->free([1]) });
refused('too few arguments', sub { $s->alloc() });
refused('too many arguments', sub { $s->alloc(1, 2) });
refused('a wide character', sub { $s->write($block, "\x{263a}") });
refused('undef as bytes', sub { $s->write($block, undef) });
refused('a number as self', sub { psm::Segment::alloc(12345, 1) });
refused('a forged object', sub { my $n = 12345; psm::Segment::alloc(bless(\$n, 'psm::Segment'), 1) });
refused('undef as a name', sub { psm::Segment->new(undef, 1048576) });
eval { $s->free($block); $s->free($block) };
say_result($@ =~ /is free already \(PSM_E_DOUBLE_FREE\) at .*test\.pl line \d+/, 'the sentence, the code, the line', $@);
say_result(psm::lastError() eq 'PSM_E_DOUBLE_FREE', 'lastError');
say_result(psm::libraryVersion() =~ /^\d+\.\d+\.\d+$/, 'libraryVersion');
my $id = $s->memberId;
say_result($s->members =~ /^$id $$ \d+ \d+ 1$/, 'members', $s->members);

my @many;
eval { push @many, psm::Segment->new("${prefix}own", 1048576) while @many < 5000 };
say_result(@many == 4095 && $@ =~ /PSM_E_STATE/, 'as many objects as there may be', scalar(@many) . $@);
@many = ();
$s->check;
say_result(psm::Segment->new("${prefix}own", 1048576)->isOpen, 'and again, after these have gone');

my $pid = fork;
if ($pid == 0) { # a child is a member by itself
  my $mine = $s->alloc(32);
  $s->setRoot($mine);
  exit($s->stat('members') == 2 ? 0 : 1);
}
waitpid $pid, 0;
say_result($? == 0, 'a child by fork is a member');
say_result($s->stat('blocks') == 1 && $s->usableSize($s->root) >= 32, "the child's block");
$s->free($s->root);

my $place = $s->offset($s->calloc(2, 8)); # a cursor of deaths, and a lock
$s->setUser(0);
$pid = fork;
if ($pid == 0) { # dies within the lock
  $s->setUser($s->memberId);
  $s->lockAt($place + 8);
  kill 'KILL', $$;
}
waitpid $pid, 0;
say_result(!$s->alive($s->user), 'the dead is not alive');
say_result($s->tryLockAt($place + 8) == 2, 'tryLockAt tells of a death');
$s->unlockAt($place + 8);
my $child = $s->user;
say_result($s->deaths($place) =~ /^$child $pid \d+ \d+ 0$/m, 'a death is told');
say_result($s->deaths($place) eq '', 'and told once');
$s->close;
undef $s;
print "1..$count\n";
