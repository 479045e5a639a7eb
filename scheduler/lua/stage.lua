-- stage.lua - sequences that run over several volunteers. Such a sequence is in
-- state g and has a path, the boundaries of its stages; a stage is named by its
-- first boundary f. s:<n>:g, there while the sequence has a path:
--   path  packed list of boundaries, 0 first and the number of shards last
--   lb    bytes reserved in the log    d  width of a row   on  "1": not finished
--   r<b>  rows in the log at boundary b; at the last: rows the head has read
--   o<f>  volunteer that keeps the stage's KV, ""; k<f>  rows of KV there
--   u<f>  unit that the stage is in, ""; w<f>  the last one that was lost
--   av, avt  volunteer that could not do it just now, until when
--   v<f>  check of a stage of a finished line, see verify.lua
-- A stage is ready when its KV has fewer rows than came to its boundary: then
-- it is in one of
--   v:<id>:g         zset  ready stages "<n>:<f>" of that owner -> since when;
--                    so are all of them in the zset stages
--   w:<m>:<f>-<e>    zset  ready stages without an owner -> sequence id
-- and further
--   v:<id>:st        set   all stages of that owner
--   h:<m>:<f>-<e>    set   volunteers that hold that span; n:<m>:<f>-<e> those
--                    of class f32, whom only batches count on that take it
--   cap              hash  "<m>:<f>-<e>" -> sequences that its holders can keep
--   blocked          zset  spans "<m>:<f>-<e>" for which stages are ready, but
--                    which nobody holds -> since when
-- Stints of such a sequence count rows, not tokens, and have the stage's
-- boundaries f and e besides.

function stage.key(x, sid) return sequence.key(x, sid) .. ':g' end

local function item(sid, f) return sid .. ':' .. f end

function stage.queue_key(x, m, f, e)
  return x.P .. 'w:' .. m .. ':' .. f .. '-' .. e
end

function stage.holders_key(x, m, f, e)
  return x.P .. 'h:' .. m .. ':' .. f .. '-' .. e
end

local function near_key(x, m, f, e)
  return x.P .. 'n:' .. m .. ':' .. f .. '-' .. e
end

-- The record of a path, or nil.
function stage.load(x, sid)
  local flat, G = R('HGETALL', stage.key(x, sid)), {}
  for i = 1, #flat, 2 do G[flat[i]] = flat[i + 1] end
  if not G.path then return nil end
  G.path = cmsgpack.unpack(G.path)
  return G
end

function stage.num(G, name, b) return tonumber(G[name .. b]) or 0 end
function stage.text(G, name, b) return G[name .. b] or '' end

-- Where the stage that begins at f ends; nil if none does.
function stage.finish_of(G, f)
  for i, b in ipairs(G.path) do
    if b == f then return G.path[i + 1] end
  end
end

-- Rows that have come to boundary f. s has np and o.
function stage.avail(s, G, f)
  return f == 0 and s.np + #s.o / 4 or stage.num(G, 'r', f)
end

-- Set fields of the record, here and in the store.
function stage.set(x, sid, G, fields)
  local list = {}
  for name, value in pairs(fields) do
    table.insert(list, name)
    table.insert(list, value)
    G[name] = tostring(value)
  end
  R('HSET', stage.key(x, sid), unpack(list))
end

-- Queue a stage if there is something to do for it. s has m, np, o, st.
function stage.offer(x, sid, s, G, f)
  if s.st ~= 'g' or stage.text(G, 'u', f) ~= '' or
     stage.num(G, 'k', f) >= stage.avail(s, G, f) then
    return
  end
  local own = stage.text(G, 'o', f)
  if own ~= '' then
    R('ZADD', volunteer.key(x, own) .. ':g', 'NX', x.now, item(sid, f))
    R('ZADD', x.P .. 'stages', 'NX', x.now, item(sid, f))
    x.wakes[own] = true
  else
    local e = stage.finish_of(G, f)
    R('ZADD', stage.queue_key(x, s.m, f, e), 'NX', sid, item(sid, f))
    if R('EXISTS', stage.holders_key(x, s.m, f, e)) == 0 then
      R('ZADD', x.P .. 'blocked', 'NX', x.now, s.m .. ':' .. f .. '-' .. e)
    end
    x.wake = true
  end
end

-- Out of the queues.
local function unqueue(x, sid, m, G, f)
  local own = stage.text(G, 'o', f)
  if own ~= '' then
    R('ZREM', volunteer.key(x, own) .. ':g', item(sid, f))
    R('ZREM', x.P .. 'stages', item(sid, f))
  end
  R('ZREM', stage.queue_key(x, m, f, stage.finish_of(G, f)), item(sid, f))
end
stage.unqueue = unqueue

-- A stage gets an owner, or ("") loses the one it has, and its KV.
function stage.own(x, sid, s, G, f, vid)
  local was = stage.text(G, 'o', f)
  if was == vid then return end
  unqueue(x, sid, s.m, G, f)
  if was ~= '' then R('SREM', volunteer.key(x, was) .. ':st', item(sid, f)) end
  if vid ~= '' then R('SADD', volunteer.key(x, vid) .. ':st', item(sid, f)) end
  stage.set(x, sid, G, {['o' .. f] = vid, ['k' .. f] = 0})
end

-- The bytes of log that s would need on this path, if it can never have them and
-- nobody is there who needs none; else nil. s as for stage.open.
function stage.never(x, p, s, M, path)
  local n = math.min(s.np + s.mt, tonumber(M.ctx))
  local bytes = log.never(p, n, #path - 2, log.row_len(tonumber(M.d)))
  local whole = stage.holders_key(x, s.m, 0, tonumber(M.span))
  return bytes and #R('SDIFF', whole, x.P .. 'refs') == 0 and bytes or nil
end

-- A sequence that is queued for anyone gets this path. s has m, np, mt, own,
-- tag.
-- Returns false if the log has no room for it.
function stage.open(x, p, sid, s, M, path)
  local n = math.min(s.np + s.mt, tonumber(M.ctx))
  local d = tonumber(M.d)
  local bytes = log.reserve(x, p, n, #path - 2, log.row_len(d))
  if not bytes then return false end
  R('HSET', stage.key(x, sid), 'path', cmsgpack.pack(path), 'lb', bytes, 'd', d,
    'on', '1')
  R('HINCRBY', x.P .. 'p:' .. s.m, 'open', 1)
  fair.taken(x, 'q:' .. s.m, s.tag)
  sequence.unqueue(x, sid, s)
  sequence.move(x, sid, s, 'g')
  return true
end

-- A finished sequence goes on after all, along the same path.
function stage.reopen(x, sid, s, G)
  if G.on ~= '1' then
    stage.set(x, sid, G, {on = '1'})
    R('HINCRBY', x.P .. 'p:' .. s.m, 'open', 1)
  end
  sequence.move(x, sid, s, 'g')
  for i = 1, #G.path - 1 do stage.offer(x, sid, s, G, G.path[i]) end
end

-- The stages let go of their volunteers; the log stays.
function stage.close(x, sid, s, G)
  for i = 1, #G.path - 1 do
    local f = G.path[i]
    stage.own(x, sid, s, G, f, '')
    unqueue(x, sid, s.m, G, f)
    stage.set(x, sid, G, {['u' .. f] = '', ['w' .. f] = ''})
  end
  if G.on == '1' then
    stage.set(x, sid, G, {on = ''})
    R('HINCRBY', x.P .. 'p:' .. s.m, 'open', -1)
    x.wake = x.wake or R('EXISTS', x.P .. 'q:' .. s.m) == 1
  end
end

-- The sequence has no path any more. Returns whether it had one.
function stage.drop(x, sid, s)
  local G = stage.load(x, sid)
  if not G then return false end
  verify.drop(x, sid, s, G)
  stage.close(x, sid, s, G)
  log.drop(x, sid, G.path, tonumber(G.lb))
  R('DEL', stage.key(x, sid))
  return true
end

local SEQUENCE = {'b', 'm', 'st', 'np', 'o'}

-- A volunteer loses a stage.
function stage.disown(x, vid, sid, f)
  local G = stage.load(x, sid)
  if not G or stage.text(G, 'o', f) ~= vid then return end
  local s = base.load(sequence.key(x, sid), unpack(SEQUENCE))
  stage.own(x, sid, s, G, f, '')
  stage.offer(x, sid, s, G, f)
end

-- ... or all that it has; only those of other spans than keep ("<m>:<f>-<e>"
-- -> true) if that is given.
function stage.strip(x, vid, keep)
  for _, member in ipairs(R('SMEMBERS', volunteer.key(x, vid) .. ':st')) do
    local sid, f = member:match('(%d+):(%d+)')
    f = tonumber(f)
    local kept = false
    if keep then
      local G, m = stage.load(x, sid), R('HGET', sequence.key(x, sid), 'm')
      kept = G and keep[m .. ':' .. f .. '-' .. stage.finish_of(G, f)]
    end
    if not kept then stage.disown(x, vid, sid, f) end
  end
end

-- A stage has been ready for long: if its owner has nothing in hand, it has gone.
function stage.overdue(x, member)
  local sid, f = member:match('(%d+):(%d+)')
  local own = R('HGET', x.P .. 's:' .. sid .. ':g', 'o' .. f) or ''
  if own == '' then
    R('ZREM', x.P .. 'stages', member)
  elseif R('EXISTS', volunteer.key(x, own) .. ':u') == 0 then
    volunteer.stop(x, own)
  else
    R('ZADD', x.P .. 'stages', x.now, member) -- its deadlines tell
  end
end

-- Of the rows of unit row r: those of generated tokens that nobody had computed
-- yet, and those that are there only to have their KV again. In g: gr  the former,
-- taken in, of all stages; grl  those lost with a unit; grb  the latter.
function stage.generated(s, G, r)
  local to = r[3] + r[4]
  local had = math.max(stage.num(G, 'r', r[10]),
                       stage.num(G, 'r', G.path[#G.path]))
  return math.max(to - math.max(had, r[3], tonumber(s.np)), 0),
    math.max(math.min(had, to) - r[3], 0)
end

-- One stage of a unit that has ended without a result. again: the volunteer's
-- KV is as it was.
function stage.back(x, u, vid, r, again)
  local sid, f = r[1], r[9]
  local G = stage.load(x, sid)
  if not G or stage.text(G, 'u', f) ~= u then return end
  local s = base.load(sequence.key(x, sid), unpack(SEQUENCE))
  if not again then base.count(x, 'grl', (stage.generated(s, G, r))) end
  R('HINCRBY', sequence.key(x, sid), 'at', 1)
  stage.set(x, sid, G, {['u' .. f] = '', ['w' .. f] = u})
  if not again then stage.own(x, sid, s, G, f, '') end
  stage.offer(x, sid, s, G, f)
end

-- Its holders can keep n more sequences (or fewer).
local function capacity(x, name, n)
  if n == 0 then return end
  if R('HINCRBY', x.P .. 'cap', name, n) <= 0 then
    R('HDEL', x.P .. 'cap', name)
  end
  local m = name:match('%x+')
  if n > 0 and R('EXISTS', x.P .. 'q:' .. m) == 1 then x.wake = true end
end

-- What a volunteer (no referee) holds has changed: spans is a list of {m, f, e}.
function stage.holds(x, vid, spans)
  local key = volunteer.key(x, vid)
  local now, slots = {}, tonumber(R('HGET', key, 'sl')) or 0
  local set = x.P .. (R('HGET', key, 'cls') == '1' and 'n:' or 'h:')
  for _, t in ipairs(spans) do now[t[1] .. ':' .. t[2] .. '-' .. t[3]] = true end
  for _, name in ipairs(R('SMEMBERS', key .. ':sp')) do
    capacity(x, name, -slots)
    if not now[name] then
      R('SREM', set .. name, vid)
      if R('EXISTS', set .. name) == 0 and
         R('EXISTS', x.P .. 'w:' .. name, x.P .. 'c:' .. name) > 0 then
        R('ZADD', x.P .. 'blocked', 'NX', x.now, name)
      end
    end
  end
  R('DEL', key .. ':sp')
  for name in pairs(now) do
    R('SADD', set .. name, vid)
    R('SADD', key .. ':sp', name)
    capacity(x, name, slots)
  end
  stage.strip(x, vid, now)
  plan.touch(x)
end

-- How many sequences a volunteer keeps at a time; v has sl as it was.
function stage.slots(x, vid, v, n)
  local more = n - (tonumber(v.sl) or 0)
  if more == 0 then return end
  local key = volunteer.key(x, vid)
  R('HSET', key, 'sl', n)
  for _, name in ipairs(R('SMEMBERS', key .. ':sp')) do
    capacity(x, name, more)
  end
end

-- How many more sequences of m may begin on this path: as many as every stage
-- has room for, when one of those that hold its span should leave; one, at
-- least, has it.
function stage.room(x, m, path)
  local least
  for i = 1, #path - 1 do
    local name = m .. ':' .. path[i] .. '-' .. path[i + 1]
    local n = tonumber(R('HGET', x.P .. 'cap', name)) or 0
    local holders = R('SCARD', x.P .. 'h:' .. name) +
                    R('SCARD', x.P .. 'n:' .. name)
    if holders > 1 then n = n - math.ceil(n / holders) end
    least = math.min(least or n, n)
  end
  return math.max(least, 1) - (tonumber(R('HGET', x.P .. 'p:' .. m, 'open')) or 0)
end

-- Is there somebody for every stage of the path? near: who is of class f32
-- counts.
function stage.covered(x, m, path, near)
  for i = 1, #path - 1 do
    local key = stage.holders_key(x, m, path[i], path[i + 1])
    if R('EXISTS', key) == 0 and
       not (near and R('EXISTS', near_key(x, m, path[i], path[i + 1])) == 1) then
      return false
    end
  end
  return true
end
