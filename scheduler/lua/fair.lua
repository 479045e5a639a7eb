-- fair.lua - whose lines go next: start-time fair queueing over API keys, of the
-- lines that wait for work (q:<m>) and of those that wait for a check (c:<m>).
--
-- A line's place in such a queue is its tag, drawn when it is queued: where the last
-- line of its key ends, or the present, whichever is later. It ends as many
-- tokens later as it may take, divided by the priority of its key; the present
-- is the latest tag that was taken. So keys with lines in the queue are served
-- in turn, and one that comes late starts at the present. Requests that someone
-- waits for have a lane of their own, ahead of all lines of batches.
--   <queue>:t  hash  lane: its present; lane and key: where the key's last line
--                    ends. It goes when the queue is empty.
local FIRST = 2 ^ 50 -- so far ahead is the lane of those that are waited for
local PRIORITY, SCALE = 10, 100

local function tags(x, q) return x.P .. q .. ':t' end

local function text(n) return string.format('%.0f', n) end

-- Of which key, with which priority? For fair.tag.
function fair.who(x, key)
  local p = tonumber(R('HGET', x.P .. 'k:' .. key, 'prio')) or PRIORITY
  return {key = key, priority = math.max(p, 1)}
end

-- The tag in queue q of a new line of who, which takes so many tokens at most.
function fair.tag(x, q, who, tokens, first)
  local lane = first and 'a' or 'b'
  local t = R('HMGET', tags(x, q), lane, lane .. who.key)
  local at = math.max(tonumber(t[1]) or 0, tonumber(t[2]) or 0)
  R('HSET', tags(x, q), lane .. who.key,
    text(at + math.ceil(tokens * SCALE / who.priority)))
  return text(first and at - FIRST or at)
end

-- The tag of a line that was taken before: not behind the present.
function fair.again(x, q, tag)
  local n = tonumber(tag) or 0
  local first = n < 0
  local now = tonumber(R('HGET', tags(x, q), first and 'a' or 'b')) or 0
  return text(math.min(n, first and now - FIRST or now))
end

-- A line with that tag is taken: it is the present now, as long as any wait.
function fair.taken(x, q, tag)
  if R('EXISTS', x.P .. q) == 0 then return end
  local n = tonumber(tag) or 0
  local lane = n < 0 and 'a' or 'b'
  local at = n < 0 and n + FIRST or n
  if at > (tonumber(R('HGET', tags(x, q), lane)) or 0) then
    R('HSET', tags(x, q), lane, text(at))
  end
end

-- Out of queue q, if it is there.
function fair.drop(x, q, item)
  if R('ZREM', x.P .. q, item) == 1 and R('EXISTS', x.P .. q) == 0 then
    R('DEL', tags(x, q))
  end
end
