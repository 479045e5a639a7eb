-- verify.lua - checks of lines that ran over several volunteers, stage by stage.
--
-- When such a line is finished, each stage of its path is drawn for a check or
-- not, like a line of a whole model (trust.lua); its item there is "<n>:<f>", its
-- makers are those whose rows came to the boundary where it ends. Another
-- volunteer that holds the same span is given the rows of the boundary before
-- from the log and tells fingerprints only; those of the primary are made here,
-- of the rows in the log, under a seed that only the checker knew. Of rows of
-- class f32 these are such as tolerate rounding (redundancy/project.h), and
-- they are compared by distance. Where the
-- span has the head, tokens and their fingerprints are compared. The line is
-- final when all its stages are valid. In s:<n>:g:
--   v<f>  packed record of a stage of a finished line:
--     st   p waits for what follows, c waits for a check, k being checked,
--          d disputed, x being decided, y valid
--     ver  rises with each change   tc, tag  since when it waits, its place
--     u, lu  unit that it is in; the one that expired with it   at  how often
--     cov, rf, ch, ck, ct, cp, cw, av, avt  as in a sequence (sequence.lua)
--     seed that its fingerprints in cp were asked for with   row  the first
--     row, or token, that is disputed
-- and further
--   c:<m>:<f>-<e>  zset  stages "<n>:<f>" that wait for a check -> tag
--   c:<m>:<f>-<e>:t  hash  where their keys stand; see fair.lua
--   r:<m>:<f>-<e>  zset  disputed ones -> since when
--   cr:<m>         set   spans "<f>-<e>" with any of these
local TOKENS, WITH_ROWS, PRINTS_ONLY = 1, 2, 4 -- flags of a frame
local IN_F32 = 256 -- ... and of its class
local SCAN = 48            -- candidates looked at in a queue
local SEQS = 64            -- sequences in a unit
local ROWS = 2048          -- rows in a unit, unless one alone has more
local BYTES = 4194304      -- bytes of rows in a unit, the same
local LONGEST = 30 * 2 ^ 20 -- bytes of rows of one sequence that a frame can hold
local MOMENT_MS = 300      -- what a unit should take: work waits meanwhile
local AVOID_MS = 1000
local LOOK = 100           -- holders that are looked at

function verify.item(sid, f) return sid .. ':' .. f end

local function span(f, e) return f .. '-' .. e end
local function queue(m, f, e) return 'c:' .. m .. ':' .. span(f, e) end
local function disputes(x, m, f, e) return x.P .. 'r:' .. m .. ':' .. span(f, e) end
local function last(G) return G.path[#G.path] end

local function line(x, sid)
  local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'ep', 'np', 'mt',
                      'sn', 'o', 'bad', 'first', 'ps', 'pr', 'lp', 'p', 'sm',
                      'bi', 'sp')
  s.np = tonumber(s.np)
  return s
end

-- The record of a stage, or nil.
local function load(G, f)
  local text = G and stage.text(G, 'v', f) or ''
  return text ~= '' and cmsgpack.unpack(text) or nil
end
verify.load = load

local function save(x, sid, G, f, V)
  V.ver = V.ver + 1
  stage.set(x, sid, G, {['v' .. f] = cmsgpack.pack(V)})
end

-- Did someone of class f32 compute rows of stage f?
local function is_near(s, G, f)
  local e = stage.finish_of(G, f)
  for _, t in ipairs(cmsgpack.unpack(s.sn)) do
    if t[7] == f and t[8] == e and t[9] == '1' then return true end
  end
  return false
end

local function makers(s, G, f)
  local e = stage.finish_of(G, f)
  return trust.makers(s.sn, e, e == last(G))
end

-- The accounts whose rows an item's check covers; {} if it is no more there.
function verify.makers(x, item)
  local sid, f = item:match('(%d+):(%d+)')
  local G = stage.load(x, sid)
  f = tonumber(f)
  if not G or not stage.finish_of(G, f) then return {} end
  return makers({sn = R('HGET', sequence.key(x, sid), 'sn')}, G, f)
end

-- The stints of stage f with what is wrong from `at` on (a row; at the head a
-- token): those that made that row of the same inputs; at the head the token, if
-- it was made before there was a path.
function verify.stints_at(s, G, f, at)
  local e, rows, whole = stage.finish_of(G, f), {}, {}
  local row = e == last(G) and s.np - 1 + at or at
  for _, t in ipairs(cmsgpack.unpack(s.sn)) do
    if t[7] == f and t[8] == e and t[5] <= row and row < t[6] then
      table.insert(rows, t)
    elseif not t[7] and e == last(G) and t[5] <= at and at < t[6] then
      table.insert(whole, t)
    end
  end
  return whole[1] and whole or rows
end

-- What placement asks about a stage: of a disputed one only those count who made
-- what is disputed.
local function subject(s, G, f, V)
  local e = stage.finish_of(G, f)
  local sn = V.row and cmsgpack.pack(verify.stints_at(s, G, f, V.row)) or s.sn
  return {sn = sn, e = e, last = e == last(G), bad = s.bad, cw = V.cw,
          ck = V.ck, av = V.av, avt = V.avt}
end

-- Out of the queues.
local function unqueue(x, sid, m, f, e)
  local name, item = queue(m, f, e), verify.item(sid, f)
  fair.drop(x, name, item)
  R('ZREM', disputes(x, m, f, e), item)
  if R('EXISTS', x.P .. name, disputes(x, m, f, e)) == 0 then
    R('SREM', x.P .. 'cr:' .. m, span(f, e))
  end
end

-- A line none of whose stages is being checked waits for what follows.
local function settle(x, sid, s, G)
  local to = 'p'
  for i = 1, #G.path - 1 do
    local st = load(G, G.path[i]).st
    if st ~= 'p' and st ~= 'y' then to = 'v' end
  end
  if s.st ~= to then sequence.move(x, sid, s, to) end
end

local function announce(x, m, f, e)
  R('SADD', x.P .. 'cr:' .. m, span(f, e))
  if R('EXISTS', stage.holders_key(x, m, f, e)) == 0 then
    R('ZADD', x.P .. 'blocked', 'NX', x.now, m .. ':' .. span(f, e))
  end
  x.wake = true
end

-- Waits for a check (again), in its key's turn.
local function wait(x, sid, s, G, f, V, since)
  local e = stage.finish_of(G, f)
  local name = queue(s.m, f, e)
  V.tag = V.tag and fair.again(x, name, V.tag) or
    fair.tag(x, name, fair.who(x, R('HGET', batch.key(x, s.b), 'key') or ''),
             s.np + s.mt, s.first == '1')
  V.st, V.u, V.tc = 'c', '', since
  save(x, sid, G, f, V)
  R('ZADD', x.P .. name, V.tag, verify.item(sid, f))
  announce(x, s.m, f, e)
end

-- Waits for the word of the referee, or of others (again).
local function dispute(x, sid, s, G, f, V)
  local e = stage.finish_of(G, f)
  V.st, V.u = 'd', ''
  save(x, sid, G, f, V)
  R('ZADD', disputes(x, s.m, f, e), x.now, verify.item(sid, f))
  announce(x, s.m, f, e)
end

-- A line is finished. draws: for each stage of its path 0 if it is not drawn.
-- red: redundancy of its batch. One too long for a frame is checked whole.
function verify.ended(x, p, sid, s, G, draws, red)
  local later = {}
  if (s.np + #s.o / 4) * log.row_len(tonumber(G.d)) > LONGEST then
    trust.ended(x, p, sid, s, true) -- by who has the whole model
    return R('HSET', sequence.key(x, sid), 'rf', '1')
  end
  for i = 1, #G.path - 1 do
    local f = G.path[i]
    local who, item = makers(s, G, f), verify.item(sid, f)
    local drawn = red > 1 or draws[i] ~= 0 or #who == 0
    local chance = trust.enter(x, p, item, who, drawn)
    local V = {st = 'p', ver = 0, at = 0, tc = 0, u = '', lu = '', cov = '',
               rf = '', ck = '', ct = '', cp = '', cw = '', seed = '', av = '',
               avt = 0, ch = chance and '1' or ''}
    if drawn then
      wait(x, sid, s, G, f, V, x.now)
    else
      save(x, sid, G, f, V)
      R('SADD', x.P .. 'b:' .. s.b .. ':p', item)
      for _, a in ipairs(who) do later[a] = true end
    end
  end
  settle(x, sid, s, G)
  if next(later) then R('SADD', x.P .. 'pend', s.b) end
  local order = {}
  for a in pairs(later) do table.insert(order, a) end
  table.sort(order)
  for _, a in ipairs(order) do trust.advance(x, p, a) end
end

-- A stage that was not drawn is to be checked after all; as trust.draw.
function verify.draw(x, sid, f, covers, referee)
  local s, G = line(x, sid), stage.load(x, sid)
  local V = s.b and load(G, f)
  if not V or V.st ~= 'p' then return end
  trust.redraw(x, verify.item(sid, f), makers(s, G, f), s.b)
  V.cov, V.rf, V.ch = cmsgpack.pack(covers), referee, ''
  wait(x, sid, s, G, f, V, x.now)
  settle(x, sid, s, G)
end

-- All that was computed for a stage of a finished line is valid: so is the
-- line, if it was the last.
function verify.valid(x, p, sid, f)
  local s, G = line(x, sid), stage.load(x, sid)
  local V = s.b and load(G, f)
  if not V then return end
  V.st = 'y'
  save(x, sid, G, f, V)
  local checks = {}
  for i = 1, #G.path - 1 do
    local one = load(G, G.path[i])
    if one.st ~= 'y' then return settle(x, sid, s, G) end
    for _, c in ipairs(one.ck ~= '' and cmsgpack.unpack(one.ck) or {}) do
      table.insert(checks, c)
    end
  end
  sequence.final(x, p, sid, nil, checks)
end

-- Is item's stage one that waits for what follows?
function verify.pends(x, sid, f)
  local V = load(stage.load(x, sid), f)
  return V and V.st == 'p'
end

-- Nothing of a line's stages is kept here any more.
function verify.drop(x, sid, s, G)
  for i = 1, #G.path - 1 do
    local f = G.path[i]
    if load(G, f) then
      unqueue(x, sid, s.m, f, stage.finish_of(G, f))
      trust.leave(x, verify.item(sid, f), makers(s, G, f), s.b)
      R('HDEL', stage.key(x, sid), 'v' .. f)
      G['v' .. f] = nil
    end
  end
end

-- Put a stage into the unit being formed, if it fits.
local function add(x, c, item, kind)
  local sid = item:match('%d+')
  local s, G = line(x, sid), stage.load(x, sid)
  local V = s.b and load(G, c.f)
  if not V or V.st ~= (kind == 'v' and 'c' or 'd') then
    return unqueue(x, sid, c.m, c.f, c.e)
  end
  local rows, seed = s.np + #s.o / 4 - 1, c.secret
  if c.e == c.N then seed = s.ps elseif kind == 'y' then seed = V.seed end
  if c.n > 0 and c.rows < rows or c.seed and c.seed ~= seed then return end
  local near = is_near(s, G, c.f)
  if c.n > 0 and c.near ~= near then return end
  c.near = near
  c.seed, c.n, c.rows = seed, c.n + 1, c.rows - rows
  c.at = math.max(c.at, V.at)
  table.insert(c.picked, {sid = sid, s = s, G = G, V = V, rows = rows,
                          kind = kind})
end

local function look(x, c, item)
  local sid = item:match('%d+')
  local G = stage.load(x, sid)
  local V = load(G, c.f)
  local s = V and base.load(sequence.key(x, sid), 'sn', 'bad', 'np')
  return s and s.sn and subject(s, G, c.f, V), V
end

-- The accounts that hold the span.
local function holders(x, c)
  local list, seen = {}, {}
  local ids = R('SRANDMEMBER', stage.holders_key(x, c.m, c.f, c.e), LOOK)
  for _, id in ipairs(ids) do
    local v = base.load(volunteer.key(x, id), 'a', 'ref')
    if v.a and v.ref ~= '1' and not seen[v.a] then
      seen[v.a] = true
      table.insert(list, v.a)
    end
  end
  return list
end

-- Have at least `need` of those who agreed not made what account a made of it?
local function covered(V, a, need)
  local n = 0
  a = trust.account(a)
  for _, c in ipairs(V.ck ~= '' and cmsgpack.unpack(V.ck) or {}) do
    if c[2] ~= a then n = n + 1 end
  end
  return n >= need
end

-- Several made a stage, and nobody else is there who may check it: each of them
-- may check the rows of the others.
local function checks_others(x, c, s, V)
  local who, asked = trust.makers(s.sn, s.e, s.last), cmsgpack.unpack(s.bad)
  for _, one in ipairs(V.ck ~= '' and cmsgpack.unpack(V.ck) or {}) do
    asked[one[2]] = true
  end
  if asked[c.v.a] then return false end
  local involved = place.involved(s)
  for _, a in ipairs(c.online) do
    if not involved[a] then return false end
  end
  for _, a in ipairs(who) do
    if trust.account(a) ~= c.v.a and not covered(V, a, 1) then return true end
  end
  return false
end

-- Those that wait for a check and that it suits, of other hardware first; where
-- there is no referee, the others too, last. The referee: what suits nobody,
-- and what nobody took in time.
local function add_checks(x, c)
  local items = R('ZRANGE', x.P .. queue(c.m, c.f, c.e), 0, SCAN - 1)
  local first, next, rest = {}, {}, {}
  local due = x.now - c.p.referee_after_ms
  for _, item in ipairs(items) do
    local s, V = look(x, c, item)
    if not s then
      unqueue(x, item:match('%d+'), c.m, c.f, c.e)
    elseif c.v.ref == '1' then
      if V.rf ~= '' or V.tc <= due or place.best(x, c, s) == 0 then
        table.insert(first, item)
      else
        c.next_ms = math.min(c.next_ms, math.max(V.tc - due, 20))
      end
    elseif sequence.avoids(x, s, c.vid) or
           c.refs and (V.rf == '1' or V.rf == '2' and V.tc > due) then
      c.refused = true
    else
      local fits, other = place.fits(x, c, s)
      if fits then
        table.insert(other and first or next, item)
      elseif not c.refs and (fits == false or checks_others(x, c, s, V)) then
        table.insert(rest, item)
      else
        c.refused = true
      end
    end
  end
  local most = c.v.ref == '1' and SEQS or
    math.min(SEQS, math.ceil(#items / math.max(#c.online, 1)))
  for _, list in ipairs({first, next, rest}) do
    for _, item in ipairs(list) do
      if c.n >= most then return end
      add(x, c, item, 'v')
    end
  end
end

-- Disputed ones: the referee's; where there is none, a third account's, of
-- those who are trusted if one of them is there.
local function add_disputes(x, c)
  if c.v.ref ~= '1' and c.refs then return end
  for _, item in ipairs(R('ZRANGE', disputes(x, c.m, c.f, c.e), 0, SCAN - 1)) do
    if c.n >= SEQS then return end
    local s = look(x, c, item)
    if not s then
      unqueue(x, item:match('%d+'), c.m, c.f, c.e)
    elseif c.v.ref == '1' then
      add(x, c, item, 'y')
    elseif not place.involved(s)[c.v.a] and not sequence.avoids(x, s, c.vid) and
           (c.trusted or not place.any_trusted(x, c, s)) then
      add(x, c, item, 'y')
    else
      c.refused = true
    end
  end
end

-- How long it may be out.
local function ttl(c, rows)
  local rate = tonumber(c.v.prate)
  if not rate then return c.p.first_lease_ms end
  return math.min(math.floor(c.p.lease_ms + c.p.lease_factor * rows / rate *
                             1000 * (c.held + 1)), 600000)
end

local function lease(x, c, uid)
  local u, n, rows = base.hex(uid), 0, {}
  local head, row_len = c.e == c.N, log.row_len(tonumber(c.M.d))
  local flags = (c.f > 0 and WITH_ROWS or 0) +
                ((head or c.f == 0) and TOKENS or 0) +
                (head and 0 or PRINTS_ONLY) + (c.near and IN_F32 or 0)
  local reply = {'unit', uid, base.unhex(c.m), c.f, c.e, c.at, c.seed, flags,
                 c.f > 0 and tonumber(c.M.d) or 0}
  for _, r in ipairs(c.picked) do
    local s, V, ep = r.s, r.V, tonumber(r.s.ep)
    local no = #s.o / 4
    local told = head and no or 0
    n = n + r.rows
    table.insert(rows, {r.sid, ep, 0, r.rows, told, 0, r.kind, no, c.f, c.e})
    if r.kind == 'v' then
      fair.taken(x, queue(c.m, c.f, c.e), V.tag)
      trust.waited(x, x.now - V.tc)
    end
    unqueue(x, r.sid, c.m, c.f, c.e)
    V.st, V.u, V.seed = r.kind == 'v' and 'k' or 'x', u, c.seed
    save(x, r.sid, r.G, c.f, V)
    for _, w in ipairs({
      sequence.alias(x, c.vid, r.sid), ep, 0, 0, told, 0, s.np, s.sm,
      head and s.bi or '',
      head and s.sp or '', r.rows,
      flags % 2 == 1 and (s.p .. s.o):sub(1, r.rows * 4) or '',
      c.f > 0 and log.read(x, r.sid, c.f, 0, r.rows, row_len) or '',
    }) do
      table.insert(reply, w)
    end
  end
  R('HSET', unit.key(x, u), 'v', c.vid, 'm', c.m, 't0', x.now, 'wp', n,
    'check', '1', 'rows', cmsgpack.pack(rows))
  R('ZADD', x.P .. 'units', x.now + ttl(c, n), u)
  R('SADD', volunteer.key(x, c.vid) .. ':u', u)
  return reply
end

-- A unit of checks for span f..e of model m, or nil.
local function form(x, vid, v, ask, p, held, m, f, e)
  local M = take.model(x, m, p, ask.seed)
  local rate = tonumber(v.prate) or 0
  local c = {
    m = m, f = f, e = e, M = M, N = tonumber(M.span), p = p, vid = vid, v = v,
    held = held, n = 0, at = 0, picked = {}, next_ms = p.retake_ms,
    trusted = trust.trusted(x, p, v.a), refs = R('SCARD', x.P .. 'refs') > 0,
    secret = ask.seed,
    rows = math.min(ROWS, math.floor(BYTES / log.row_len(tonumber(M.d)))),
  }
  if v.ref ~= '1' then
    c.rows = math.min(c.rows, math.floor(rate * MOMENT_MS / 1000))
  end
  c.online = holders(x, c)
  add_disputes(x, c)
  if c.n == 0 then add_checks(x, c) end
  ask.refused = ask.refused or c.refused
  ask.next_ms = math.min(ask.next_ms or c.next_ms, c.next_ms)
  return c.n > 0 and lease(x, c, ask.uid) or nil
end

-- Has it a unit of checks in hand? One is enough: the work goes on.
local function in_hand(x, vid)
  for _, u in ipairs(R('SMEMBERS', volunteer.key(x, vid) .. ':u')) do
    if R('HEXISTS', unit.key(x, u), 'check') == 1 then return true end
  end
end

-- The next unit of checks for vid, of the spans that it holds (ask.spans), or
-- nil; the rest as for take.unit.
function verify.unit(x, vid, v, ask, p, held)
  if #ask.spans == 0 or v.ref ~= '1' and in_hand(x, vid) then return nil end
  for _, t in ipairs(ask.spans) do
    local m, f, e = unpack(t)
    if R('SISMEMBER', x.P .. 'cr:' .. m, span(f, e)) == 1 then
      local reply = form(x, vid, v, ask, p, held, m, f, e)
      if reply then return reply end
    end
  end
end

-- Is there anyone of c.online who may check s (a subject)?
local function has_checker(x, c, s, V)
  local set = place.involved(s)
  for _, a in ipairs(c.online) do
    if not set[a] then return true end
  end
  local makers = trust.makers(s.sn, s.e, s.last)
  return #makers > 1 and V.st == 'c'
end

-- Did someone of class f32 compute a part of s? Then no token tells.
local function has_f32(s)
  for _, t in ipairs(cmsgpack.unpack(s.sn)) do
    if t[9] == '1' then return true end
  end
  return false
end

-- Someone with the whole of model m is there, and no referee: lines with a stage
-- that none of its span's holders may check are checked whole.
function verify.adopt(x, p, m)
  if R('SCARD', x.P .. 'refs') > 0 then return end
  for _, name in ipairs(R('SMEMBERS', x.P .. 'cr:' .. m)) do
    local f, e = name:match('(%d+)-(%d+)')
    local c = {m = m, f = tonumber(f), e = tonumber(e), p = p}
    c.online = holders(x, c)
    for _, key in ipairs({x.P .. queue(m, f, e), disputes(x, m, f, e)}) do
      for _, item in ipairs(R('ZRANGE', key, 0, SCAN - 1)) do
        local one, V = look(x, c, item)
        if one and not has_f32(one) and not has_checker(x, c, one, V) then
          local sid = item:match('%d+')
          local s = line(x, sid)
          verify.drop(x, sid, s, stage.load(x, sid))
          trust.ended(x, p, sid, s, true)
        end
      end
    end
  end
end

-- The span that the referee should have besides those that it has: m, f, e.
function verify.wanted(x, vid, v, ask, p)
  local has = {}
  for _, t in ipairs(ask.spans) do has[t[1] .. ':' .. span(t[2], t[3])] = true end
  for _, m in ipairs(ask.models) do
    for _, name in ipairs(R('SMEMBERS', x.P .. 'cr:' .. m)) do
      local f, e = name:match('(%d+)-(%d+)')
      f, e = tonumber(f), tonumber(e)
      if not has[m .. ':' .. name] then
        if R('EXISTS', disputes(x, m, f, e)) == 1 then return m, f, e end
        local c = {m = m, f = f, e = e, p = p, vid = vid, v = v}
        local due = x.now - p.referee_after_ms
        c.online = holders(x, c)
        for _, item in ipairs(R('ZRANGE', x.P .. queue(m, f, e), 0, SCAN - 1)) do
          local s, V = look(x, c, item)
          if s and (V.rf ~= '' or V.tc <= due or place.best(x, c, s) == 0) then
            return m, f, e
          elseif s then
            ask.next_ms = math.min(ask.next_ms or p.retake_ms,
                                   math.max(V.tc - due, 20))
          end
        end
      end
    end
  end
end

-- May the result of row r still be taken in? Its records go into s.G and s.V.
function verify.alive(x, s, r, u)
  s.G = s.st == 'v' and s.ep == tostring(r[2]) and stage.load(x, r[1])
  s.V = s.G and stage.finish_of(s.G, r[9]) == r[10] and load(s.G, r[9])
  if not s.V then return false end
  local check = r[7] == 'v'
  if s.V.u == u then return s.V.st == (check and 'k' or 'x') end
  return s.V.u == '' and s.V.lu == u and s.V.st == (check and 'c' or 'd')
end

-- Is what came for a span without the head what was asked for?
function verify.formed(r, res)
  return #res.prints == r[4] * 16 and res.tokens == '' and res.rows == ''
end

-- What C has to know of a span whose rows are compared by distance: their width,
-- its layers, whether the model's first is among them.
local function stretch(x, m, f, e)
  local M, n = base.load(x.P .. 'm:' .. m, 'd', 'ly'), 0
  for i = f, e - 1 do n = n + struct.unpack('<I4', M.ly, i * 4 + 1) end
  return struct.pack('<I4I4I4', tonumber(M.d), n, f == 0 and 1 or 0)
end

-- What C has to compare for act number i: appended to ask, as work.lua says.
function verify.ask(x, ask, i, act)
  local s, r, V = act.s, act.r, act.s.V
  local late = r[7] == 'y'
  local list
  if r[10] == last(s.G) then
    list = {i, 'verdict', V.ver, s.o, s.pr, late and V.ct or '',
            late and V.cp or ''}
  else
    local len = log.row_len(tonumber(s.G.d))
    list = {i, 'rows', V.ver, log.read(x, r[1], r[10], 0, r[4], len), V.seed,
            late and V.cp or '', ''}
    if is_near(s, s.G, r[9]) then
      list[2], list[7] = 'near', stretch(x, s.m, r[9], r[10])
    end
  end
  for _, w in ipairs(list) do table.insert(ask, w) end
end

-- Who checked and agreed with the truth has earned it.
local function pay(x, c, credit)
  if c[5] then return end -- a referee
  base.ledger(x, c[2], 'check', credit)
  R('HINCRBY', x.P .. 'acct:' .. c[2], 'run', 1)
end

-- The check of a stage, or the word on a disputed one, has come. d: {version,
-- primary is right, challenger is right, how many of its rows or tokens are}.
function verify.verdict(x, p, vid, v, act)
  local r, s, res, d = act.r, line(x, act.r[1]), act.res, act.d
  local G, V, sid, f, e = act.s.G, act.s.V, act.r[1], act.r[9], act.r[10]
  local m = base.load(x.P .. 'm:' .. s.m, 'cr', 'span', 'crs')
  local share, referee = sequence.share(m, f, e), v.ref == '1'
  local tokens = math.floor(#s.o / 4 * share + 0.5)
  local credit, losers = r[4] * m.cr / 1000 * share, {}
  unqueue(x, sid, s.m, f, e)
  R('HINCRBY', batch.key(x, s.b), 'n_rt', tokens)
  x.ended[s.b] = true
  if r[7] == 'v' and d[2] == 0 and not referee then
    V.ct, V.cp, V.row = res.tokens, res.prints, d[4]
    V.cw = cmsgpack.pack({vid, v.a, v.name, v.be})
    return dispute(x, sid, s, G, f, V)
  end
  if r[7] == 'y' then
    if d[2] == 0 and d[3] == 0 and not referee then
      V.av, V.avt = vid, x.now + AVOID_MS -- three answers: someone else's turn
      return dispute(x, sid, s, G, f, V)
    end
    local other = cmsgpack.unpack(V.cw)
    if d[3] == 0 then
      table.insert(losers, other[2])
    else
      pay(x, other, credit)
    end
    V.ct, V.cp, V.cw, V.row = '', '', '', nil
  end
  if d[2] == 0 then
    if not referee then pay(x, {vid, v.a}, credit) end
    for _, a in ipairs(verify.wrong(x, p, sid, s, G, f, V, d[4])) do
      table.insert(losers, a)
    end
  else
    local red = tonumber(R('HGET', batch.key(x, s.b), 'red')) or 1
    local agreed = V.ck ~= '' and cmsgpack.unpack(V.ck) or {}
    table.insert(agreed, {vid, v.a, v.name, v.be, referee, f, e})
    V.ck = cmsgpack.pack(agreed)
    local who, enough = makers(s, G, f), true
    for _, a in ipairs(who) do
      enough = enough and covered(V, a, math.max(red - 1, 1))
    end
    if referee or enough then
      save(x, sid, G, f, V)
      for _, c in ipairs(agreed) do pay(x, c, credit) end
      R('HINCRBY', batch.key(x, s.b), 'n_ct', tokens)
      trust.passed(x, p, verify.item(sid, f), who, V.ch == '1')
      verify.valid(x, p, sid, f)
      local covers = V.cov ~= '' and cmsgpack.unpack(V.cov) or {}
      for _, a in ipairs(who) do trust.advance(x, p, a, covers[a]) end
    else
      wait(x, sid, s, G, f, V, x.now)
    end
  end
  for _, a in ipairs(losers) do sequence.blame(x, p, sid, a) end
end

-- A stage of a unit that has ended without a result waits again; avoid: not for
-- that volunteer for a moment.
function verify.back(x, u, vid, r, avoid)
  local sid, f = r[1], r[9]
  local s, G = line(x, sid), stage.load(x, sid)
  local V = s.b and load(G, f)
  if not V or V.u ~= u then return end
  V.at, V.lu = V.at + 1, u
  if avoid then V.av, V.avt = vid, x.now + AVOID_MS end
  if r[7] == 'v' then
    wait(x, sid, s, G, f, V, V.tc)
  else
    dispute(x, sid, s, G, f, V)
  end
end

-- Are there checks for that span ("<m>:<f>-<e>")? A number.
function verify.waits(x, name)
  return R('EXISTS', x.P .. 'c:' .. name, x.P .. 'r:' .. name)
end

-- Nobody will ever hold that span again, and no referee is there: up to limit of
-- the lines that wait for its checks are computed anew.
function verify.restart(x, p, name, limit)
  local m, f, e = name:match('(%x+):(%d+)-(%d+)')
  for _, key in ipairs({x.P .. 'c:' .. name, x.P .. 'r:' .. name}) do
    for _, item in ipairs(R('ZRANGE', key, 0, limit - 1)) do
      local sid = item:match('%d+')
      local s = line(x, sid)
      unqueue(x, sid, m, f, e)
      if s.b and stage.drop(x, sid, s) then
        R('HSET', sequence.key(x, sid), 'o', '', 'pr', '', 'lp', '', 'fin', '',
          'sn', cmsgpack.pack({}))
        R('HINCRBY', sequence.key(x, sid), 'ep', 1)
        base.count(x, 'restarts', 1)
        sequence.queue(x, sid, s)
      end
    end
  end
end
