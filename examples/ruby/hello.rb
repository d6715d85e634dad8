# A record that any language reads, and frees: see ../README.md.
#
#   hello write NAME   allocate a record and a text, and wait for the end of the standard input
#   hello read NAME    check them, free both
#   hello churn NAME   allocate and free until the standard input ends
require 'psm'

MAGIC = 0x50534d2d48454c4f
TEXT = 'hello from ruby'
SIZE = 4 << 20

def check(what, holds)
  raise "wrong: #{what}" unless holds
end

def write_record(segment)
  text = segment.alloc(TEXT.bytesize)
  segment.write(text, TEXT)
  record = segment.calloc(1, 64)
  segment.pokeU64(record, MAGIC)
  segment.pokeU64(record + 8, text)
  segment.pokeU64(record + 16, TEXT.bytesize)
  segment.pokeU64(record + 24, record)
  segment.pokeI64(record + 32, -42)
  segment.pokeF64(record + 40, 2.5)
  segment.setUser(record) # last: now others find it
  puts "wrote #{record}"
  $stdin.read
end

def read_record(segment)
  record = segment.root
  check('magic', segment.peekU64(record) == MAGIC)
  check('its own address', segment.peekU64(record + 24) == record)
  check('offset', segment.address(segment.offset(record)) == record)
  check('integer', segment.peekI64(record + 32) == -42)
  check('double', segment.peekF64(record + 40) == 2.5)
  check('zeros', segment.read(record + 48, 16) == "\0" * 16)
  where = segment.peekU64(record + 8)
  text = segment.read(where, segment.peekU64(record + 16)).force_encoding('UTF-8')
  check('text', text =~ /\Ahello from \w+\z/)
  segment.free(where)
  segment.free(record)
  segment.setUser(0)
  segment.check
  check('blocks', segment.stat('blocks').zero?)
  puts "read #{record} #{text}"
end

def input_ended?
  $stdin.wait_readable(0) && $stdin.eof?
end

def give_back(segment, block)
  check('a block', segment.peekU64(block) == block)
  segment.free(block)
end

def churn(segment)
  kept = []
  1.step do |turn|
    block = segment.alloc(rand(16..512))
    segment.pokeU64(block, block)
    kept.push(block)
    give_back(segment, kept.shift) if kept.size > 32
    next unless (turn % 1000).zero?
    puts "turn #{turn}"
    break if input_ended?
  end
  kept.each { |block| give_back(segment, block) }
end

require 'io/wait'
$stdout.sync = true
role, name = ARGV
roles = {'write' => :write_record, 'read' => :read_record, 'churn' => :churn}
abort 'usage: hello write|read|churn NAME' if ARGV.size != 2 || !roles.key?(role)
begin
  segment = role == 'read' ? Psm::Segment.open(name, 0, Psm::OPEN_JOIN, 0, 0) : Psm::Segment.new(name, SIZE)
  send(roles[role], segment)
  segment.close
rescue StandardError => e
  abort "hello: #{e.message}"
end
