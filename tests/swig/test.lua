-- The story of story.txt, and what only Lua can do wrong.
local psm = require "psm"

local story, prefix = ...
local segments, numbers, count = {}, {}, 0

local function result(ok, what, why)
  count = count + 1
  print(ok and ("ok %d - %s"):format(count, what)
    or ("not ok %d - %s: %s"):format(count, what, tostring(why)))
end

local function number(word)
  if word == "" then return 0 end
  local sign, digits = word:match "^([-+]?)(.*)$"
  local n = math.tointeger(tonumber(digits)) or error("no number: " .. word)
  return sign == "-" and -n or n
end

local function value(word)
  local kind, rest = word:match "^([bftn]):(.*)$"
  if kind == "b" then return (rest:gsub("..", function(hex) return string.char(tonumber(hex, 16)) end)) end
  if kind == "f" then return tonumber(rest) end
  if kind == "t" then return rest end
  if kind == "n" then return prefix .. rest end
  if word == "true" or word == "false" then return word == "true" end
  local name, more = word:match "^%$(%w+)(.*)$"
  if name then return numbers[name] + number(more) end
  return number(word)
end

local function values(words, from)
  local list = {}
  for i = from, #words do list[#list + 1] = value(words[i]) end
  return table.unpack(list)
end

local function step(words)
  local verb = table.remove(words, 1)
  if verb == "fails" then
    local code = table.remove(words, 1)
    local ok, why = pcall(step, words)
    if ok then error "did not fail" end
    if code ~= "*" and not why:find("(" .. code .. ")", 1, true) then error("failed with " .. why) end
    return
  end
  local what = table.remove(words, 1)
  if verb == "new" then segments[what] = psm.Segment(values(words, 1)) return end
  if verb == "open" then segments[what] = psm.Segment.open(values(words, 1)) return end
  local target = verb == "do" and what or table.remove(words, 1)
  local name, method = target:match "^(%w+)%.(%w+)$"
  local segment = segments[name]
  local got = segment[method](segment, values(words, 1))
  if verb == "let" then numbers[what] = got end
  if verb == "is" and got ~= value(what) then error("got " .. tostring(got)) end
end

for line in io.lines(story) do
  if not line:match "^#" and line:match "%S" then
    local words = {}
    for word in line:gmatch "%S+" do words[#words + 1] = word end
    local ok, why = pcall(step, words)
    result(ok, line, why)
  end
end

-- What only Lua can do wrong

local s = psm.Segment(prefix .. "own", 1048576)
local block = s:alloc(64)
local function refused(what, call)
  result(not pcall(call), "refused: " .. what, "it was not")
end
refused("text as a size", function() s:alloc("16") end)
refused("nil as a size", function() s:alloc(nil) end)
refused("a fraction as a size", function() s:alloc(1.5) end)
refused("too few arguments", function() s:alloc() end)
refused("too many arguments", function() s:alloc(1, 2) end)
refused("a number as bytes", function() s:write(block, 5) end)
refused("nil as bytes", function() s:write(block, nil) end)
refused("nil as self", function() s.alloc(nil, 1) end)
refused("a table as self", function() s.alloc({}, 1) end)
refused("a file as self", function() s.alloc(io.stdout, 1) end)
refused("nil as a name", function() psm.Segment(nil, 1048576) end)
result(math.type(s:peekU8(block)) == "integer" and math.type(block) == "integer", "integers are integers")
result(s:alloc(16.0) ~= 0, "a whole float is a whole number")
result(psm.lastError() == "", "no lastError after success")
result(psm.libraryVersion():match "^%d+%.%d+%.%d+$", "libraryVersion")
result(s:members():match "^(%d+) " == tostring(s:memberId()), "members", s:members())
local kept = s.alloc
getmetatable(s).__gc(s) -- the collector, early
refused("a collected object", function() kept(s, 1) end)
print("1.." .. count)
