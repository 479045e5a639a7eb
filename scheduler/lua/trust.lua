-- trust.lua - what accounts have shown, and which finished lines wait for what.
-- Whether a line is checked is drawn in C (redundancy/trust.h), when its result
-- is there; the rest follows redundancy/trust.h and stints.h. In an account's
-- hash:
--   run  valid checks in a row    st, stt  strikes, as of when    ban "1"
--   n    stints that ended, ever    blk  address block of its last volunteer
--   a:<a>:p  zset  its lines that are finished, undrawn -> number of its stint
--   a:<a>:d  zset  its lines that are drawn and not yet checked -> the same
--   b:<id>:p set   lines of a batch that are finished, undrawn
--   pend     set   batches with such lines    left  set of accounts that left
--   In g: sc, sl  season (checks drawn by chance, lost)   cwn, cwm  checks that
--   were given out, the longest that one had waited for that, ms

local function account(x, a) return x.P .. 'acct:' .. a end
local function pending(x, a) return x.P .. 'a:' .. a .. ':p' end
local function drawn(x, a) return x.P .. 'a:' .. a .. ':d' end

-- The accounts that computed a line with these packed stints, each once.
function trust.makers(stints)
  local list, seen = {}, {}
  for _, t in ipairs(cmsgpack.unpack(stints)) do
    if not seen[t[2]] then
      seen[t[2]] = true
      table.insert(list, t[2])
    end
  end
  return list
end

local function strikes(x, p, t)
  local n = tonumber(t.st) or 0
  if n == 0 then return 0 end
  return math.max(0, n - math.floor((x.now - t.stt) / p.strike_ms))
end

function trust.trusted(x, p, a)
  local t = base.load(account(x, a), 'run', 'st', 'stt')
  return (tonumber(t.run) or 0) >= p.trust_run * p.probation ^ strikes(x, p, t)
end

function trust.banned(x, a)
  return R('HGET', account(x, a), 'ban') == '1'
end

-- What C needs for a draw: season, then for each account its run, strikes and
-- when the last one was.
function trust.snapshot(x, accounts)
  local g = base.load(x.P .. 'g', 'sc', 'sl')
  local out = struct.pack('<I8I4I4', x.now, g.sc or 0, g.sl or 0)
  for _, a in ipairs(accounts) do
    local t = base.load(account(x, a), 'run', 'st', 'stt')
    out = out .. struct.pack('<I4I4I8', t.run or 0, t.st or 0, t.stt or 0)
  end
  return out
end

local function season(x, p, lost)
  local g = x.P .. 'g'
  local n = R('HINCRBY', g, 'sc', 1)
  local l = R('HINCRBY', g, 'sl', lost and 1 or 0)
  if n >= p.season then
    R('HSET', g, 'sc', math.floor(n / 2), 'sl', math.floor((l + 1) / 2))
  end
end

local function out_of_pending(x, sid, s)
  local set = x.P .. 'b:' .. s.b .. ':p'
  R('SREM', set, sid)
  if R('EXISTS', set) == 0 then R('SREM', x.P .. 'pend', s.b) end
end

-- A finished, undrawn line is to be checked after all. referee: by nobody else.
-- covers: map of account -> its stints up to this number are valid once the
-- check has agreed.
local function draw(x, sid, covers, referee)
  local key = sequence.key(x, sid)
  local s = base.load(key, 'b', 'm', 'st', 'sn', 'own')
  if s.st ~= 'p' then return end
  for _, a in ipairs(trust.makers(s.sn)) do
    local at = R('ZSCORE', pending(x, a), sid)
    R('ZREM', pending(x, a), sid)
    if at then R('ZADD', drawn(x, a), at, sid) end
  end
  out_of_pending(x, sid, s)
  R('HSET', key, 'cov', cmsgpack.pack(covers), 'rf', referee and '1' or '', 'ch',
    '')
  sequence.check(x, sid, s, x.now)
end

-- One maker's stints of a pending line are valid; if all are, so is the line.
local function valid(x, p, sid, a)
  local s = base.load(sequence.key(x, sid), 'b', 'sn', 'st')
  R('ZREM', pending(x, a), sid)
  if s.st ~= 'p' then return end
  for _, other in ipairs(trust.makers(s.sn)) do
    if R('ZSCORE', pending(x, other), sid) then return end
  end
  sequence.final(x, p, sid, nil)
end

-- Lines of account a that have waited long enough, or are covered up to upto.
local function advance(x, p, a, upto)
  while true do
    local head = R('ZRANGE', pending(x, a), 0, 0, 'WITHSCORES')
    if not head[1] then return end
    local sid, at = head[1], tonumber(head[2])
    local n = tonumber(R('HGET', account(x, a), 'n')) or 0
    if at > (upto or 0) and (n - at < p.window or
       R('ZCOUNT', drawn(x, a), at + 1, at + p.window) > 0) then
      return
    end
    valid(x, p, sid, a)
  end
end

-- A line is finished. is_drawn: by chance, by its batch, or to be sure.
function trust.ended(x, p, sid, s, is_drawn)
  local makers, chance = trust.makers(s.sn), true
  for _, a in ipairs(makers) do
    local at = R('HINCRBY', account(x, a), 'n', 1)
    chance = chance and trust.trusted(x, p, a)
    R('ZADD', is_drawn and drawn(x, a) or pending(x, a), at, sid)
  end
  if is_drawn then
    R('HSET', sequence.key(x, sid), 'cov', '', 'rf', '', 'ch',
      chance and '1' or '')
    return sequence.check(x, sid, s, x.now)
  end
  R('HSET', sequence.key(x, sid), 'u', '', 'own', '', 'kv', 0)
  sequence.move(x, sid, s, 'p')
  R('SADD', x.P .. 'b:' .. s.b .. ':p', sid)
  R('SADD', x.P .. 'pend', s.b)
  for _, a in ipairs(makers) do advance(x, p, a) end
end

-- The check of a drawn line agreed (it is final already; s as it was).
function trust.agreed(x, p, sid, s)
  local covers = s.cov and s.cov ~= '' and cmsgpack.unpack(s.cov) or {}
  if s.ch == '1' then season(x, p, false) end
  for _, a in ipairs(trust.makers(s.sn)) do
    R('ZREM', drawn(x, a), sid)
    R('HINCRBY', account(x, a), 'run', 1)
    R('HINCRBY', account(x, a), 'ok', 1)
  end
  for _, a in ipairs(trust.makers(s.sn)) do advance(x, p, a, covers[a]) end
end

-- A check starts, ms after the line was drawn.
function trust.waited(x, ms)
  local g = x.P .. 'g'
  R('HINCRBY', g, 'cwn', 1)
  if ms > (tonumber(R('HGET', g, 'cwm')) or 0) then R('HSET', g, 'cwm', ms) end
end

-- A drawn line was wrong, and goes back.
function trust.undo(x, p, sid, s)
  if s.ch == '1' then season(x, p, true) end
  trust.drop(x, sid, s)
end

-- Out of all that is kept here.
function trust.drop(x, sid, s)
  for _, a in ipairs(trust.makers(s.sn)) do
    R('ZREM', pending(x, a), sid)
    R('ZREM', drawn(x, a), sid)
  end
  out_of_pending(x, sid, s)
end

-- A banned account's volunteers lose all that they hold, and count no more as
-- online; so do those that it brings later. Its address block pays more.
local function ban(x, p, a)
  R('HSET', account(x, a), 'ban', '1')
  entry.banned(x, p, a)
  R('HDEL', x.P .. 'oa', a)
  base.count(x, 'bans', 1)
  for _, id in ipairs(R('ZRANGE', x.P .. 'vols', 0, -1)) do
    if R('HGET', volunteer.key(x, id), 'a') == a then volunteer.strip(x, id) end
  end
end

-- An account lost a dispute: its trust is gone, and what it has pending is
-- checked by the referee.
function trust.lost(x, p, a)
  local t = base.load(account(x, a), 'st', 'stt', 'ban')
  local n = strikes(x, p, t) + 1
  R('HSET', account(x, a), 'run', 0, 'st', n, 'stt', x.now)
  for _, sid in ipairs(R('ZREVRANGE', pending(x, a), 0, -1)) do
    draw(x, sid, {}, true)
  end
  if n >= p.strikes and t.ban ~= '1' then ban(x, p, a) end
end

-- Draw one of these lines for all that account a has pending.
local function settle(x, a, sids, random)
  local sid = sids[random % #sids + 1]
  local last = R('ZREVRANGE', pending(x, a), 0, 0, 'WITHSCORES')
  if not last[1] then return end -- drawn for another maker just now
  draw(x, sid, {[a] = tonumber(last[2])}, false)
end

-- A batch of which nothing moves any more but pending lines: one more check for
-- each of their makers. random: 32 bits of the call.
local LOOK = 300
function trust.settle_batch(x, id, random)
  local b = x.P .. 'b:' .. id
  local t = base.load(b, 'closed', 'st', 'n_q', 'n_r', 'n_c')
  local n = R('SCARD', b .. ':p')
  if n == 0 then R('SREM', x.P .. 'pend', id) end
  if t.closed ~= '1' or t.st ~= '1' or n == 0 or
     tonumber(t.n_q) + tonumber(t.n_r) > 0 or tonumber(t.n_c) > n then
    return
  end
  local by = {}
  for _, sid in ipairs(R('SRANDMEMBER', b .. ':p', LOOK)) do
    for _, a in ipairs(trust.makers(R('HGET', sequence.key(x, sid), 'sn'))) do
      if R('ZSCORE', pending(x, a), sid) then
        by[a] = by[a] or {}
        table.insert(by[a], sid)
      end
    end
  end
  local order = {}
  for a, sids in pairs(by) do
    table.sort(sids)
    table.insert(order, a)
  end
  table.sort(order)
  for _, a in ipairs(order) do settle(x, a, by[a], random) end
end

-- Batches that have ended but for pending lines, and accounts that have left.
function trust.sweep(x, p, random, limit)
  for _, id in ipairs(R('SRANDMEMBER', x.P .. 'pend', limit)) do
    trust.settle_batch(x, id, random)
  end
  for _, a in ipairs(R('SRANDMEMBER', x.P .. 'left', limit)) do
    local sids = R('ZRANGE', pending(x, a), 0, -1)
    if #sids > 0 and R('HEXISTS', x.P .. 'oa', a) == 0 then
      settle(x, a, sids, random)
    end
    R('SREM', x.P .. 'left', a)
  end
end

-- An account's last volunteer has gone.
function trust.left(x, a)
  if R('EXISTS', pending(x, a)) == 1 then R('SADD', x.P .. 'left', a) end
end
