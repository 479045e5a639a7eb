-- flow.lua - units for partial spans: taken, and their results committed. Rows
-- of whatever is ready for the volunteer's span go into one unit, one step each,
-- prefill and decode mixed.
local SEQS = 64            -- sequences in a unit
local ROWS = 2048          -- rows in a unit
local BYTES = 4194304      -- bytes of rows in a unit
local REPLAN = 64          -- units after which speeds are looked at again
local SCAN = 128           -- candidates looked at in a queue
local TOKENS, WITH_ROWS = 1, 2 -- flags of a frame

-- May the caller compute sequences of that batch? Class f32 only where the batch
-- takes it.
local function class_fits(x, c, b)
  return c.v.cls ~= '1' or batch.near(x, b)
end

-- Was the caller wrong about such a sequence, and is there another who was not?
local function shy(x, c, bad)
  if not bad[c.v.a] then return false end
  for _, id in ipairs(R('SMEMBERS', stage.holders_key(x, c.m, c.f, c.e))) do
    local a = R('HGET', volunteer.key(x, id), 'a')
    if a and not bad[a] then return true end
  end
  return false
end

-- Put a stage into the unit being formed, if it fits. Returns false if it must
-- not stay in its queue, nil if it is not for now.
local function add(x, c, sid)
  local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'ep', 'at', 'np',
                      'mt', 'ps', 'own', 'o', 'p', 'sm', 'bi', 'sp', 'bad')
  local G = s.b and stage.load(x, sid)
  if not G or s.st ~= 'g' or s.m ~= c.m or
     stage.finish_of(G, c.f) ~= c.e or stage.text(G, 'u', c.f) ~= '' then
    return false
  end
  s.np = tonumber(s.np)
  local own = stage.text(G, 'o', c.f)
  local mine = own == c.vid
  if own ~= '' and not mine then return false end
  if not mine and G.av == c.vid and tonumber(G.avt) > x.now then return nil end
  if not mine and shy(x, c, cmsgpack.unpack(s.bad)) then return nil end
  if not class_fits(x, c, s.b) then return nil end
  local first = mine and stage.num(G, 'k', c.f) or 0
  local avail = stage.avail(s, G, c.f)
  if avail <= first then return false end
  local rows = math.min(avail - first, c.rows)
  if rows <= 0 then return nil end
  local seed
  if c.e == c.N then
    seed = s.ps ~= '' and s.ps or c.M.ps
    if c.seed and c.seed ~= seed then return nil end
    c.seed = seed
  end
  c.n, c.rows = c.n + 1, c.rows - rows
  c.at = math.max(c.at, tonumber(s.at))
  table.insert(c.picked, {
    sid = sid, s = s, G = G, first = first, rows = rows, mine = mine,
    max_new = c.e == c.N and first + rows == s.np + #s.o / 4 and 1 or 0,
  })
  return true
end

-- Its own stages of this span that are ready.
local function add_own(x, c)
  local key = volunteer.key(x, c.vid) .. ':g'
  for _, member in ipairs(R('ZRANGE', key, 0, SCAN - 1)) do
    if c.n >= SEQS then return end
    local sid, f = member:match('(%d+):(%d+)')
    if tonumber(f) == c.f then add(x, c, sid) end
  end
end

local function room(c) return c.n < SEQS and c.fresh < c.slots end

-- A volunteer that is full, and for whose own stages nothing is ready, lets go of
-- idle ones of later sequences than sid: the earliest always finds a place, so
-- sequences never block each other.
local function make_room(x, c, sid)
  local idle = {}
  for _, t in ipairs(R('SMEMBERS', volunteer.key(x, c.vid) .. ':st')) do
    local id, f = t:match('(%d+):(%d+)')
    if tonumber(f) == c.f and tonumber(id) > tonumber(sid) and not R('ZSCORE', volunteer.key(x, c.vid) .. ':g', t) and
       (R('HGET', x.P .. 's:' .. id .. ':g', 'u' .. f) or '') == '' then
      table.insert(idle, {tonumber(id), tonumber(f)})
    end
  end
  table.sort(idle, function(a, b) return a[1] < b[1] end)
  while #idle > 0 and c.fresh >= c.slots do
    local t = table.remove(idle)
    stage.disown(x, c.vid, string.format('%d', t[1]), t[2])
    c.slots = c.slots + 1
  end
end

-- Stages of this span that nobody has.
local function add_free(x, c)
  local queue = stage.queue_key(x, c.m, c.f, c.e)
  local holders = R('SCARD', stage.holders_key(x, c.m, c.f, c.e))
  local share = math.ceil(R('ZCARD', queue) / math.max(holders, 1))
  for _, member in ipairs(R('ZRANGE', queue, 0, SCAN - 1)) do
    local sid = member:match('%d+')
    if c.n == 0 and not room(c) then make_room(x, c, sid) end
    if not room(c) or c.fresh >= share then return end
    local ok = add(x, c, sid)
    if ok then
      c.fresh = c.fresh + 1
    elseif ok == false then
      R('ZREM', queue, member)
    end
  end
end

-- Sequences that have no path yet begin one.
local function add_new(x, c)
  local path = plan.path(x, c.m)
  if not path or path[2] ~= c.e or not stage.covered(x, c.m, path, true) then
    return
  end
  local exact = stage.covered(x, c.m, path)
  local queue = x.P .. 'q:' .. c.m
  local holders = R('SCARD', stage.holders_key(x, c.m, c.f, c.e))
  local share = math.ceil(R('ZCARD', queue) / math.max(holders, 1)) + c.fresh
  local left = stage.room(x, c.m, path)
  local whole = R('EXISTS', stage.holders_key(x, c.m, 0, c.N)) == 1
  for _, sid in ipairs(R('ZRANGE', queue, 0, SCAN - 1)) do
    if not room(c) or c.fresh >= share or c.rows <= 0 or left <= 0 then
      return
    end
    local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'np', 'mt', 'own',
                        'bad', 'tag')
    if not s.b then
      fair.drop(x, 'q:' .. c.m, sid)
    elseif stage.never(x, c.p, s, c.M, path) then
      batch.too_long(x, sid, stage.never(x, c.p, s, c.M, path), c.p.log_bytes)
    elseif class_fits(x, c, s.b) and (exact or batch.near(x, s.b)) and
           not (cmsgpack.unpack(s.bad)[c.v.a] and whole) and
           not shy(x, c, cmsgpack.unpack(s.bad)) then
      if not stage.open(x, c.p, sid, s, c.M, path) then
        c.full = true
        R('HSET', x.P .. 'g', 'tight', x.now)
        return
      end
      left = left - 1
      if add(x, c, sid) then
        c.fresh = c.fresh + 1
      else
        stage.offer(x, sid, base.load(sequence.key(x, sid), 'm', 'st', 'np',
                                      'o'), stage.load(x, sid), 0)
      end
    end
  end
end

-- How long such a unit may take: by what it was measured to do, and under two
-- seconds; progress extends it.
local function ttl(c, rows)
  local rate = tonumber(c.v.prate)
  if not rate then return c.p.stage_ms end
  local ms = c.p.stage_ms / 2 +
             c.p.lease_factor * rows / rate * 1000 * (c.held + 1)
  return math.min(math.floor(ms), c.p.stage_ms)
end

local function lease(x, c, uid)
  local u, n, rows = base.hex(uid), 0, {}
  local head, row_len = c.e == c.N, log.row_len(tonumber(c.M.d))
  local flags = (c.f > 0 and WITH_ROWS or 0) +
                ((head or c.f == 0) and TOKENS or 0)
  local reply = {'unit', uid, base.unhex(c.m), c.f, c.e, c.at,
                 c.seed or c.M.ps, flags + (c.v.cls == '1' and 256 or 0),
                 c.f > 0 and tonumber(c.M.d) or 0}
  for _, r in ipairs(c.picked) do
    local s, ep = r.s, tonumber(r.s.ep)
    n = n + r.rows
    table.insert(rows, {r.sid, ep, r.first, r.rows, 0, r.max_new, 'g',
                        #s.o / 4, c.f, c.e})
    stage.unqueue(x, r.sid, c.m, r.G, c.f)
    stage.own(x, r.sid, s, r.G, c.f, c.vid)
    stage.set(x, r.sid, r.G, {['u' .. c.f] = u, ['k' .. c.f] = r.first})
    if head then R('HSET', sequence.key(x, r.sid), 'ps', c.seed) end
    local tokens = flags % 2 == 1 and
      (s.p .. s.o):sub(r.first * 4 + 1, (r.first + r.rows) * 4) or ''
    for _, v in ipairs({
      sequence.alias(x, c.vid, r.sid), ep, r.first, r.first, 0, r.max_new, s.np, s.sm,
      head and s.bi or '', head and s.sp or '', r.rows, tokens,
      c.f > 0 and log.read(x, r.sid, c.f, r.first, r.rows, row_len) or '',
    }) do
      table.insert(reply, v)
    end
  end
  R('HSET', unit.key(x, u), 'v', c.vid, 'm', c.m, 't0', x.now, 'wp', n, 'stage',
    c.f, 'rows', cmsgpack.pack(rows))
  R('ZADD', x.P .. 'units', x.now + ttl(c, n), u)
  R('SADD', volunteer.key(x, c.vid) .. ':u', u)
  return reply
end

-- Sequences in the units that it holds.
local function in_hand(x, vid)
  local n = 0
  for _, u in ipairs(R('SMEMBERS', volunteer.key(x, vid) .. ':u')) do
    local rows = R('HGET', unit.key(x, u), 'rows')
    n = n + (rows and #cmsgpack.unpack(rows) or 0)
  end
  return n
end

-- Sequences that vid keeps for a span that begins at f; it holds n spans.
local function kept(x, vid, f, n)
  local key = volunteer.key(x, vid) .. ':st'
  if n == 1 then return R('SCARD', key) end
  local count = 0
  for _, member in ipairs(R('SMEMBERS', key)) do
    if tonumber(member:match(':(%d+)')) == f then count = count + 1 end
  end
  return count
end

-- The next unit for one of the partial spans of vid, or nil. spans: list of
-- {m, f, e}; the rest as for take.unit. Says in ask.full if only the log's
-- budget stood against it.
function flow.unit(x, vid, v, ask, p, held)
  if #ask.spans == 0 then return nil end
  local all = ask.slots + in_hand(x, vid) -- for each of its spans
  stage.slots(x, vid, v, all)
  for _, t in ipairs(ask.spans) do
    local m, f, e = unpack(t)
    local M = take.model(x, m, p, ask.seed)
    if M and M.d then
      local N = tonumber(M.span)
      local c = {
        m = m, M = M, N = N, p = p, vid = vid, v = v, f = f, e = e, held = held,
        n = 0, fresh = 0, slots = all - kept(x, vid, f, #ask.spans), at = 0, picked = {},
        rows = math.min(ROWS, math.floor(BYTES / log.row_len(tonumber(M.d)))),
      }
      add_own(x, c)
      add_free(x, c)
      if f == 0 then add_new(x, c) end
      if c.n > 0 then return lease(x, c, ask.uid) end
      ask.full = ask.full or c.full
    end
  end
end

-- May the result of row r still be taken in? Its record goes into s.G. Late
-- rows may, as long as nobody else was given that stage.
function flow.alive(x, vid, s, r, u)
  local f = r[9]
  s.G = s.st == 'g' and s.ep == tostring(r[2]) and stage.load(x, r[1])
  if not s.G or stage.finish_of(s.G, f) ~= r[10] then return false end
  if stage.text(s.G, 'u', f) == u then return true end
  return stage.text(s.G, 'u', f) == '' and stage.text(s.G, 'w', f) == u and
         r[3] + r[4] > stage.num(s.G, 'r', r[10])
end

-- Are the rows of a span without the head what was asked for?
function flow.formed(s, r, res)
  return #res.rows == r[4] * log.row_len(tonumber(s.G.d)) and res.tokens == ''
end

-- For each stage of the path of s the accounts that made it, once vid (v) has
-- done row r.
function flow.makers(s, r, v)
  local lists, path = {}, s.G.path
  for i = 2, #path do
    local list = trust.makers(s.sn, path[i], i == #path)
    local there = path[i] ~= r[10]
    for _, a in ipairs(list) do there = there or a == trust.name(v) end
    if not there then table.insert(list, trust.name(v)) end
    table.insert(lists, list)
  end
  return lists
end

-- The stints of s with the rows from..to of a stage.
local function stints_with(s, r, vid, v, from, to)
  local stints = cmsgpack.unpack(s.sn)
  for _, t in ipairs(stints) do
    if t[1] == vid and t[7] == r[9] and t[6] == from then
      t[6] = to
      return cmsgpack.pack(stints)
    end
  end
  table.insert(stints, {vid, v.a, v.name, v.be, from, to, r[9], r[10],
                        v.cls == '1' and '1' or nil})
  return cmsgpack.pack(stints)
end

-- Rows came back. Returns how many new tokens.
function flow.take(x, p, vid, v, act, M)
  local r, s, res, d = act.r, act.s, act.res, act.d
  local sid, f, e, G = r[1], r[9], r[10], act.s.G
  local to, head, n = r[3] + r[4], e == G.path[#G.path], 0
  stage.unqueue(x, sid, s.m, G, f)
  stage.own(x, sid, s, G, f, vid)
  stage.set(x, sid, G, {['u' .. f] = '', ['k' .. f] = to})
  local had = stage.num(G, 'r', e) -- at the head: rows that it has read
  local new, rebuilt = stage.generated(s, G, r)
  x.rows, x.rebuilt = (x.rows or 0) + new, (x.rebuilt or 0) + rebuilt
  if to > had then
    s.sn = stints_with(s, r, vid, v, had, to)
    R('HSET', sequence.key(x, sid), 'sn', s.sn)
    if not head then
      local len = log.row_len(tonumber(G.d))
      log.append(x, sid, e, res.rows:sub((had - r[3]) * len + 1))
    end
    stage.set(x, sid, G, {['r' .. e] = to})
  end
  if head and r[6] == 1 then
    n = 1
    s.o = s.o .. res.tokens:sub(1, 4)
    R('HSET', sequence.key(x, sid), 'o', s.o, 'pr', s.pr .. res.prints, 'lp',
      s.lp .. res.logprobs)
    local stop = act.stop or d and d[3] == 1
    if stop or #s.o / 4 >= tonumber(s.mt) or
       s.np + #s.o / 4 >= tonumber(M.ctx) then
      R('HSET', sequence.key(x, sid), 'fin', stop and 's' or 'l')
      stage.close(x, sid, s, G)
      local red = tonumber(R('HGET', batch.key(x, s.b), 'red')) or 1
      verify.ended(x, p, sid, s, G, d and {unpack(d, 4)} or {}, red)
      x.ended[s.b] = true
      return 1
    end
    stage.offer(x, sid, s, G, 0)
  end
  stage.offer(x, sid, s, G, f)
  if not head then stage.offer(x, sid, s, G, e) end
  return n
end

-- The volunteer could not do it.
function flow.status(x, vid, act, u)
  local r, s, G = act.r, act.s, act.s.G
  local sid, f = r[1], r[9]
  if stage.text(G, 'u', f) ~= u then return end
  if act.res.status == 1 and r[3] > 0 then
    -- its KV is gone: the same volunteer, with the history
    stage.set(x, sid, G, {['u' .. f] = '', ['k' .. f] = 0})
    stage.offer(x, sid, s, G, f)
  else
    flow.refused(x, vid, r, u)
  end
end

-- To somebody else, if there is one.
local AVOID_MS = 1000
function flow.refused(x, vid, r, u)
  local G = stage.load(x, r[1])
  if not G then return end
  stage.set(x, r[1], G, {av = vid, avt = x.now + AVOID_MS})
  stage.back(x, u, vid, r, false)
end

-- Measure its speed at partial spans, rows a second.
function flow.measure(x, vid, v, U, compute_us)
  local ms, said = math.max(x.now - U.t0, 1), compute_us / 1000
  if said > 0 and said < ms then ms = said end
  local rate = U.wp / math.max(ms, 0.1) * 1000
  if tonumber(v.prate) then rate = (tonumber(v.prate) * 3 + rate) / 4 end
  v.prate = string.format('%.3f', math.max(rate, 0.01))
  R('HSET', volunteer.key(x, vid), 'prate', v.prate)
  base.count(x, 'gr', x.rows or 0)
  if (x.rebuilt or 0) > 0 then base.count(x, 'grb', x.rebuilt) end
  local n = R('HINCRBY', volunteer.key(x, vid), 'units', 1)
  if n % REPLAN == 0 then plan.touch(x) end
end
