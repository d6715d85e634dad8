# The story of story.txt, and what only Ruby can do wrong.
require 'psm'

STORY, PREFIX = ARGV
@segments, @numbers, @count = {}, {}, 0

def result(okay, what, why = nil)
  @count += 1
  puts(okay ? "ok #{@count} - #{what}" : "not ok #{@count} - #{what}: #{why}")
end

def value(word)
  case word
  when /\Ab:(.*)/ then [$1].pack('H*')
  when /\Af:(.*)/ then Float($1)
  when /\At:(.*)/ then $1
  when /\An:(.*)/ then PREFIX + $1
  when 'true', 'false' then word == 'true'
  when /\A\$(\w+?)([-+]\d+)?\z/ then @numbers.fetch($1) + ($2 || 0).to_i
  else Integer(word)
  end
end

def step(verb, *words)
  if verb == 'fails'
    code = words.shift
    begin
      step(*words)
    rescue StandardError => e
      return if code == '*' || (e.is_a?(Psm::Error) && e.code == code)
      raise "failed with #{e.message}"
    end
    raise 'did not fail'
  end
  what = words.shift
  case verb
  when 'new' then return @segments[what] = Psm::Segment.new(*words.map { |word| value(word) })
  when 'open' then return @segments[what] = Psm::Segment.open(*words.map { |word| value(word) })
  end
  target = verb == 'do' ? what : words.shift
  name, method = target.split('.')
  got = @segments.fetch(name).public_send(method, *words.map { |word| value(word) })
  @numbers[what] = got if verb == 'let'
  raise "got #{got.inspect}" if verb == 'is' && got != value(what)
end

File.foreach(STORY, chomp: true) do |line|
  next if line =~ /\A(#|\s*\z)/
  begin
    step(*line.split)
    result(true, line)
  rescue StandardError => e
    result(false, line, e.message)
  end
end

# ---- What only Ruby can do wrong

s = Psm::Segment.new("#{PREFIX}own", 1048576)
block = s.alloc(64)

def refused(what)
  yield
  result(false, "refused: #{what}", 'it was not')
rescue StandardError
  result(true, "refused: #{what}")
end
refused('text as a size') { s.alloc('many') }
refused('nil as a size') { s.alloc(nil) }
refused('a number beyond 64 bits') { s.pokeU64(block, 1 << 64) }
refused('too few arguments') { s.alloc }
refused('too many arguments') { s.alloc(1, 2) }
refused('a number as bytes') { s.write(block, 5) }
refused('nil as bytes') { s.write(block, nil) }
refused('an object that was never opened') { Psm::Segment.allocate.alloc(1) }
refused('another class as self') { Psm::Segment.instance_method(:alloc).bind(Object.new) }
refused('nil as a name') { Psm::Segment.new(nil, 1048576) }
result(s.read(block, 4).encoding == Encoding::BINARY, 'bytes are binary')
result(Psm.lastError == '', 'no lastError after success')
result(Psm.libraryVersion =~ /\A\d+\.\d+\.\d+\z/, 'libraryVersion')
result(s.members.split.first(2) == [s.memberId.to_s, Process.pid.to_s], 'members', s.members)

child = fork do # a child is a member by itself
  s.setRoot(s.alloc(32))
  exit!(s.stat('members') == 2)
end
Process.wait(child)
result($?.success?, 'a child by fork is a member')
result(s.usableSize(s.root) >= 32, "the child's block")
s.free(s.root)
cursor = s.calloc(1, 8)
child = fork { Process.kill(:KILL, Process.pid) }
Process.wait(child)
result(s.deaths(cursor).lines.last.split[1] == child.to_s, 'a death is told')
result(s.deaths(cursor) == '', 'and told once')
copy = s.dup
refused('a copy of an object, after the close') { s.close; copy.alloc(1) }
puts "1..#{@count}"
