-- A record that any language reads, and frees: see ../README.md.
--
--   hello write NAME   allocate a record and a text, and wait for the end of the standard input
--   hello read NAME    check them, free both
--   hello churn NAME   allocate and free until the standard input ends
local psm = require "psm"

local MAGIC <const> = 0x50534d2d48454c4f
local TEXT <const> = "hello from lua"

local function check(what, holds)
  if not holds then error("wrong: " .. what, 0) end
end

local roles = {}

function roles.write(segment)
  local text = segment:alloc(#TEXT)
  segment:write(text, TEXT)
  local record = segment:calloc(1, 64)
  segment:pokeU64(record, MAGIC)
  segment:pokeU64(record + 8, text)
  segment:pokeU64(record + 16, #TEXT)
  segment:pokeU64(record + 24, record)
  segment:pokeI64(record + 32, -42)
  segment:pokeF64(record + 40, 2.5)
  segment:setUser(record) -- last: now others find it
  print("wrote " .. record)
  io.read "a"
end

function roles.read(segment)
  local record = segment:root()
  check("magic", segment:peekU64(record) == MAGIC)
  check("its own address", segment:peekU64(record + 24) == record)
  check("offset", segment:address(segment:offset(record)) == record)
  check("integer", segment:peekI64(record + 32) == -42)
  check("double", segment:peekF64(record + 40) == 2.5)
  check("zeros", segment:read(record + 48, 16) == ("\0"):rep(16))
  local where = segment:peekU64(record + 8)
  local text = segment:read(where, segment:peekU64(record + 16))
  check("text", text:match "^hello from %w+$")
  segment:free(where)
  segment:free(record)
  segment:setUser(0)
  segment:check()
  check("blocks", segment:stat "blocks" == 0)
  print(("read %d %s"):format(record, text))
end

-- Lua cannot look at its input without waiting: a shell waits, and then removes a file.
local function input_watch()
  local file = os.tmpname()
  os.execute(("{ { cat <&3; rm -f '%s'; } >/dev/null 2>&1 & } 3<&0"):format(file))
  return function()
    local there = io.open(file)
    return there == nil or not there:close()
  end
end

function roles.churn(segment)
  local kept, ended = {}, input_watch()
  local function give_back()
    local block = table.remove(kept, 1)
    check("a block", segment:peekU64(block) == block)
    segment:free(block)
  end
  local turn = 0
  repeat
    turn = turn + 1
    local block = segment:alloc(math.random(16, 512))
    segment:pokeU64(block, block)
    kept[#kept + 1] = block
    if #kept > 32 then give_back() end
    if turn % 1000 == 0 then print("turn " .. turn) end
  until turn % 1000 == 0 and ended()
  while #kept > 0 do give_back() end
end

local role, name = ...
if select("#", ...) ~= 2 or not roles[role] then
  io.stderr:write "usage: hello write|read|churn NAME\n"
  os.exit(1)
end
io.stdout:setvbuf "line"
local ok, why = pcall(function()
  local segment = role == "read" and psm.Segment.open(name, 0, psm.OPEN_JOIN, 0, 0)
    or psm.Segment(name, 4 << 20)
  roles[role](segment)
  segment:close()
end)
if not ok then
  io.stderr:write("hello: ", tostring(why), "\n")
  os.exit(1)
end
