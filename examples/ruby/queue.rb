# Records pass through a ring of addresses; who takes one frees it: see ../README.md.
#
#   queue produce NAME COUNT   make the ring if there is none, and put records
#   queue consume NAME COUNT   take and check them, and free the ring
#
# Every change under the lock ends with one store, of head or of tail, so the
# death of an owner leaves nothing to repair.
require 'psm'

MAGIC = 0x50534d2d51554555
SLOTS = 64
CAPACITY, HEAD, TAIL, ARRAY, LOCK = 8, 16, 24, 32, 40 # offsets in the ring

def check(what, holds)
  raise "wrong: #{what}" unless holds
end

def rest
  sleep 0.0005
end

def payload(i)
  (0...i % 200).map { |k| (i + k) % 256 }.pack('C*')
end

# A ring of addresses in a segment.
class Ring
  attr_reader :address

  def self.create(segment)
    ring = segment.calloc(1, 64)
    segment.pokeU64(ring, MAGIC)
    segment.pokeU64(ring + CAPACITY, SLOTS)
    segment.pokeU64(ring + ARRAY, segment.calloc(SLOTS, 8))
    segment.setUser(ring) # last: now others find it
  end

  def initialize(segment)
    @segment = segment
    @address = segment.root
    check('magic', segment.peekU64(@address) == MAGIC)
    @array = get(ARRAY)
  end

  def get(field)
    @segment.peekU64(@address + field)
  end

  def locked
    @segment.lockAt(@address + LOCK)
    yield
  ensure
    @segment.unlockAt(@address + LOCK)
  end

  def put(record)
    locked do
      head = get(HEAD)
      next false if head - get(TAIL) == SLOTS
      @segment.pokeU64(@array + head % SLOTS * 8, record)
      @segment.pokeU64(@address + HEAD, head + 1)
      true
    end
  end

  def take
    locked do
      tail = get(TAIL)
      next nil if tail == get(HEAD)
      record = @segment.peekU64(@array + tail % SLOTS * 8)
      @segment.pokeU64(@address + TAIL, tail + 1)
      record
    end
  end

  def drained?
    @segment.user.zero? || get(HEAD) == get(TAIL)
  end

  def free
    @segment.setUser(0)
    @segment.free(@array)
    @segment.free(@address)
  end
end

def produce(segment, count)
  Ring.create(segment) if segment.user.zero?
  ring = Ring.new(segment)
  sum = 0
  count.times do |i|
    bytes = payload(i)
    record = segment.alloc(16 + bytes.size)
    segment.pokeU64(record, i)
    segment.pokeU64(record + 8, bytes.size)
    segment.write(record + 16, bytes)
    sum += bytes.sum(32)
    rest until ring.put(record)
  end
  rest until ring.drained?
  puts "produced #{count} #{sum}"
end

def consume(segment, count)
  rest while segment.user.zero?
  ring = Ring.new(segment)
  sum = 0
  count.times do |i|
    rest until (record = ring.take)
    bytes = segment.read(record + 16, segment.peekU64(record + 8))
    check('number', segment.peekU64(record) == i)
    check('bytes', bytes == payload(i))
    sum += bytes.sum(32)
    segment.free(record)
  end
  ring.free
  puts "consumed #{count} #{sum}"
end

def join_when_there(name)
  Psm::Segment.open(name, 0, Psm::OPEN_JOIN, 0, 0)
rescue Psm::Error => e
  raise if e.code != 'PSM_E_NOT_FOUND'
  rest
  retry
end

role, name, count = ARGV
abort 'usage: queue produce|consume NAME COUNT' if ARGV.size != 3 || !%w[produce consume].include?(role)
begin
  segment = role == 'produce' ? Psm::Segment.new(name, 4 << 20) : join_when_there(name)
  send(role, segment, Integer(count))
  segment.close
rescue StandardError => e
  abort "queue: #{e.message}"
end
