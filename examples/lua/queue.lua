-- Records pass through a ring of addresses; who takes one frees it: see ../README.md.
--
--   queue produce NAME COUNT   make the ring if there is none, and put records
--   queue consume NAME COUNT   take and check them, and free the ring
--
-- Every change under the lock ends with one store, of head or of tail, so the
-- death of an owner leaves nothing to repair.
local psm = require "psm"

local MAGIC <const> = 0x50534d2d51554555
local SLOTS <const> = 64
local CAPACITY, HEAD, TAIL, ARRAY, LOCK = 8, 16, 24, 32, 40 -- offsets in the ring

local segment

local function check(what, holds)
  if not holds then error("wrong: " .. what, 0) end
end

local function rest() os.execute "sleep 0.001" end -- Lua itself cannot

local function payload(i)
  local bytes = {}
  for k = 0, i % 200 - 1 do bytes[k + 1] = (i + k) % 256 end
  return string.char(table.unpack(bytes))
end

local function sum_of(bytes)
  local sum = 0
  for k = 1, #bytes do sum = sum + bytes:byte(k) end
  return sum
end

local function make_ring()
  local ring = segment:calloc(1, 64)
  segment:pokeU64(ring, MAGIC)
  segment:pokeU64(ring + CAPACITY, SLOTS)
  segment:pokeU64(ring + ARRAY, segment:calloc(SLOTS, 8))
  segment:setUser(ring) -- last: now others find it
end

local function slot(ring, count)
  return segment:peekU64(ring + ARRAY) + count % SLOTS * 8
end

local function put(ring, record)
  segment:lockAt(ring + LOCK)
  local head = segment:peekU64(ring + HEAD)
  local room = head - segment:peekU64(ring + TAIL) < SLOTS
  if room then
    segment:pokeU64(slot(ring, head), record)
    segment:pokeU64(ring + HEAD, head + 1)
  end
  segment:unlockAt(ring + LOCK)
  return room
end

local function take(ring)
  local record
  segment:lockAt(ring + LOCK)
  local tail = segment:peekU64(ring + TAIL)
  if tail ~= segment:peekU64(ring + HEAD) then
    record = segment:peekU64(slot(ring, tail))
    segment:pokeU64(ring + TAIL, tail + 1)
  end
  segment:unlockAt(ring + LOCK)
  return record
end

local function drained()
  local ring = segment:user()
  return ring == 0 or segment:peekU64(ring + HEAD) == segment:peekU64(ring + TAIL)
end

local roles = {}

function roles.produce(count)
  local sum = 0
  if segment:user() == 0 then make_ring() end
  local ring = segment:root()
  check("magic", segment:peekU64(ring) == MAGIC)
  for i = 0, count - 1 do
    local bytes = payload(i)
    local record = segment:alloc(16 + #bytes)
    segment:pokeU64(record, i)
    segment:pokeU64(record + 8, #bytes)
    segment:write(record + 16, bytes)
    sum = sum + sum_of(bytes)
    while not put(ring, record) do rest() end
  end
  while not drained() do rest() end
  print(("produced %d %d"):format(count, sum))
end

function roles.consume(count)
  local sum = 0
  while segment:user() == 0 do rest() end
  local ring = segment:root()
  check("magic", segment:peekU64(ring) == MAGIC)
  for i = 0, count - 1 do
    local record = take(ring)
    while not record do
      rest()
      record = take(ring)
    end
    local bytes = segment:read(record + 16, segment:peekU64(record + 8))
    check("number", segment:peekU64(record) == i)
    check("bytes", bytes == payload(i))
    sum = sum + sum_of(bytes)
    segment:free(record)
  end
  segment:setUser(0)
  segment:free(segment:peekU64(ring + ARRAY))
  segment:free(ring)
  print(("consumed %d %d"):format(count, sum))
end

local function join_when_there(name)
  while true do
    local ok, found = pcall(psm.Segment.open, name, 0, psm.OPEN_JOIN, 0, 0)
    if ok then return found end
    if psm.lastError() ~= "PSM_E_NOT_FOUND" then error(found, 0) end
    rest()
  end
end

local role, name, count = ...
if select("#", ...) ~= 3 or not roles[role] then
  io.stderr:write "usage: queue produce|consume NAME COUNT\n"
  os.exit(1)
end
local ok, why = pcall(function()
  segment = role == "produce" and psm.Segment(name, 4 << 20) or join_when_there(name)
  roles[role](math.tointeger(tonumber(count)))
  segment:close()
end)
if not ok then
  io.stderr:write("queue: ", tostring(why), "\n")
  os.exit(1)
end
