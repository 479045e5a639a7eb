-- trust.lua - what accounts have shown, and which finished lines wait for what.
-- Whether a line is checked is drawn in C (redundancy/trust.h), when its result
-- is there; the rest follows redundancy/trust.h and stints.h. In an account's
-- hash:
--   run  valid checks in a row    st, stt  strikes, as of when    ban "1"
--   n    stints that ended, ever    blk  address block of its last volunteer
-- Of its work in class f32 an account has another run, strikes and items: it is
-- there under another name (trust.maker), and only the ban is its own.
-- An item is a finished line "<n>", or a stage "<n>:<f>" of one that ran over
-- several volunteers (verify.lua): what is drawn, checked and valid as a whole.
--   a:<a>:p  zset  its items that are finished, undrawn -> number of its stint
--   a:<a>:d  zset  its items that are drawn and not yet checked -> the same
--   b:<id>:p set   items of a batch that are finished, undrawn
--   pend     set   batches with such lines    left  set of accounts that left
--   In g: sc, sl  season (checks drawn by chance, lost)   cwn, cwm  checks that
--   were given out, the longest that one had waited for that, ms   tight  when the
--   log last had no room for another line

local function account(x, a) return x.P .. 'acct:' .. a end
local function pending(x, a) return x.P .. 'a:' .. a .. ':p' end
local function drawn(x, a) return x.P .. 'a:' .. a .. ':d' end

-- The name under which a stint's account, or a volunteer's (v), is trusted.
local F32 = '~f32'
function trust.maker(t) return t[9] == '1' and t[2] .. F32 or t[2] end
function trust.name(v) return v.cls == '1' and v.a .. F32 or v.a end

-- The account behind such a name.
function trust.account(name) return (name:gsub(F32, '')) end

-- Those who computed a line with these packed stints, each once; those
-- whose rows came to boundary e if it is given (last: it is the path's last, for
-- which whole models count too).
function trust.makers(stints, e, last)
  local list, seen = {}, {}
  for _, t in ipairs(cmsgpack.unpack(stints)) do
    local a = trust.maker(t)
    if not seen[a] and (not e or t[8] == e or last and not t[8]) then
      seen[a] = true
      table.insert(list, a)
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

-- What C needs for draws: season, then for each item how many made it, and of
-- each of these its run, strikes and when the last one was.
function trust.snapshot(x, items)
  local g = base.load(x.P .. 'g', 'sc', 'sl')
  local out = struct.pack('<I8I4I4', x.now, g.sc or 0, g.sl or 0)
  for _, accounts in ipairs(items) do
    out = out .. struct.pack('<I4', #accounts)
    for _, a in ipairs(accounts) do
      local t = base.load(account(x, a), 'run', 'st', 'stt')
      out = out .. struct.pack('<I4I4I8', t.run or 0, t.st or 0, t.stt or 0)
    end
  end
  return out
end

-- A check drawn by chance from trusted accounts has been decided.
function trust.season(x, p, lost)
  local g = x.P .. 'g'
  local n = R('HINCRBY', g, 'sc', 1)
  local l = R('HINCRBY', g, 'sl', lost and 1 or 0)
  if n >= p.season then
    R('HSET', g, 'sc', math.floor(n / 2), 'sl', math.floor((l + 1) / 2))
  end
end

local function out_of_pending(x, item, b)
  local set = x.P .. 'b:' .. b .. ':p'
  R('SREM', set, item)
  if R('EXISTS', set) == 0 then R('SREM', x.P .. 'pend', b) end
end

-- The line of an item, and the first boundary of its stage or nil.
local function parts(item)
  local sid, f = item:match('^(%d+):?(%d*)$')
  return sid, tonumber(f)
end

local function makers_of(x, item)
  if select(2, parts(item)) then return verify.makers(x, item) end
  return trust.makers(R('HGET', sequence.key(x, item), 'sn'))
end

-- A finished item is drawn, or not, among those of its makers. Returns whether
-- all of them are trusted.
function trust.enter(x, p, item, makers, is_drawn)
  local chance = true
  for _, a in ipairs(makers) do
    local at = R('HINCRBY', account(x, a), 'n', 1)
    chance = chance and trust.trusted(x, p, a)
    R('ZADD', is_drawn and drawn(x, a) or pending(x, a), at, item)
  end
  return chance
end

-- An undrawn item of batch b becomes a drawn one.
function trust.redraw(x, item, makers, b)
  for _, a in ipairs(makers) do
    local at = R('ZSCORE', pending(x, a), item)
    R('ZREM', pending(x, a), item)
    if at then R('ZADD', drawn(x, a), at, item) end
  end
  out_of_pending(x, item, b)
end

-- The check of a drawn item agreed. chance: it was drawn by chance.
function trust.passed(x, p, item, makers, chance)
  if chance then trust.season(x, p, false) end
  for _, a in ipairs(makers) do
    R('ZREM', drawn(x, a), item)
    R('HINCRBY', account(x, a), 'run', 1)
    R('HINCRBY', account(x, a), 'ok', 1)
  end
end

-- An item of batch b is out of all that is kept here.
function trust.leave(x, item, makers, b)
  for _, a in ipairs(makers) do
    R('ZREM', pending(x, a), item)
    R('ZREM', drawn(x, a), item)
  end
  out_of_pending(x, item, b)
end

-- A finished, undrawn item is to be checked after all. referee: by nobody else.
-- covers: map of account -> its stints up to this number are valid once the
-- check has agreed.
local function draw(x, item, covers, referee)
  local sid, f = parts(item)
  if f then return verify.draw(x, sid, f, covers, referee) end
  local key = sequence.key(x, sid)
  local s = base.load(key, 'b', 'm', 'st', 'sn', 'own')
  if s.st ~= 'p' then return end
  trust.redraw(x, sid, trust.makers(s.sn), s.b)
  R('HSET', key, 'cov', cmsgpack.pack(covers), 'rf', referee and '1' or '', 'ch',
    '')
  sequence.check(x, sid, s, x.now)
end

-- One maker's stints of a pending item are valid; if all are, so is the item.
local function valid(x, p, item, a)
  local sid, f = parts(item)
  local s = base.load(sequence.key(x, sid), 'b', 'st')
  R('ZREM', pending(x, a), item)
  if f and not verify.pends(x, sid, f) or not f and s.st ~= 'p' then return end
  for _, other in ipairs(makers_of(x, item)) do
    if R('ZSCORE', pending(x, other), item) then return end
  end
  if not f then return sequence.final(x, p, sid, nil) end
  out_of_pending(x, item, s.b)
  verify.valid(x, p, sid, f)
end

-- Items of account a that have waited long enough, or are covered up to upto.
function trust.advance(x, p, a, upto)
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
  local makers = trust.makers(s.sn)
  local chance = trust.enter(x, p, sid, makers, is_drawn)
  if is_drawn then
    R('HSET', sequence.key(x, sid), 'cov', '', 'rf', '', 'ch',
      chance and '1' or '')
    return sequence.check(x, sid, s, x.now)
  end
  R('HSET', sequence.key(x, sid), 'u', '', 'own', '', 'kv', 0)
  sequence.move(x, sid, s, 'p')
  R('SADD', x.P .. 'b:' .. s.b .. ':p', sid)
  R('SADD', x.P .. 'pend', s.b)
  for _, a in ipairs(makers) do trust.advance(x, p, a) end
end

-- The check of a drawn line agreed (it is final already; s as it was).
function trust.agreed(x, p, sid, s)
  local covers = s.cov and s.cov ~= '' and cmsgpack.unpack(s.cov) or {}
  local makers = trust.makers(s.sn)
  trust.passed(x, p, sid, makers, s.ch == '1')
  for _, a in ipairs(makers) do trust.advance(x, p, a, covers[a]) end
end

-- A check starts, ms after the line was drawn.
function trust.waited(x, ms)
  local g = x.P .. 'g'
  R('HINCRBY', g, 'cwn', 1)
  if ms > (tonumber(R('HGET', g, 'cwm')) or 0) then R('HSET', g, 'cwm', ms) end
end

-- A drawn line was wrong, and goes back.
function trust.undo(x, p, sid, s)
  if s.ch == '1' then trust.season(x, p, true) end
  trust.drop(x, sid, s)
end

-- Out of all that is kept here.
function trust.drop(x, sid, s)
  trust.leave(x, sid, trust.makers(s.sn), s.b)
end

-- A banned account's volunteers lose all that they hold, and count no more as
-- online; so do those that it brings later. Its address block pays more.
local function ban(x, p, a)
  R('HSET', account(x, a), 'ban', '1')
  entry.banned(x, p, a)
  R('HDEL', x.P .. 'oa', a)
  base.count(x, 'bans', 1)
  for _, id in ipairs(R('ZRANGE', x.P .. 'vols', 0, -1)) do
    if R('HGET', volunteer.key(x, id), 'a') == a then
      volunteer.strip(x, id)
      stage.holds(x, id, {})
    end
  end
end

-- An account lost a dispute: its trust is gone, and what it has pending is
-- checked by the referee.
function trust.lost(x, p, a)
  local t = base.load(account(x, a), 'st', 'stt')
  local n = strikes(x, p, t) + 1
  R('HSET', account(x, a), 'run', 0, 'st', n, 'stt', x.now)
  for _, item in ipairs(R('ZREVRANGE', pending(x, a), 0, -1)) do
    draw(x, item, {}, true)
  end
  if n >= p.strikes and not trust.banned(x, trust.account(a)) then
    ban(x, p, trust.account(a))
  end
end

-- Draw one of these items for all that account a has pending.
local function settle(x, a, items, random)
  local item = items[random % #items + 1]
  local last = R('ZREVRANGE', pending(x, a), 0, 0, 'WITHSCORES')
  if not last[1] then return end -- drawn for another maker just now
  draw(x, item, {[a] = tonumber(last[2])}, false)
end

-- A batch of which nothing moves any more but pending items, or whose lines keep
-- the log full: one more check for each of their makers. random: 32 bits of the
-- call.
local LOOK, TIGHT_MS = 300, 2000
function trust.settle_batch(x, id, random)
  local b = x.P .. 'b:' .. id
  local t = base.load(b, 'closed', 'st', 'n_q', 'n_r', 'n_c', 'n_p')
  local n = R('SCARD', b .. ':p')
  if n == 0 then R('SREM', x.P .. 'pend', id) end
  local ends = t.closed == '1' and t.st == '1' and
    tonumber(t.n_q) + tonumber(t.n_r) == 0 and
    tonumber(t.n_c) <= (tonumber(t.n_p) or 0)
  local tight = not ends and
    x.now - (tonumber(R('HGET', x.P .. 'g', 'tight')) or 0) < TIGHT_MS
  if n == 0 or not ends and not tight then return end
  local by = {}
  for _, item in ipairs(R('SRANDMEMBER', b .. ':p', LOOK)) do
    for _, a in ipairs(makers_of(x, item)) do
      if R('ZSCORE', pending(x, a), item) then
        by[a] = by[a] or {}
        table.insert(by[a], item)
      end
    end
  end
  local order = {}
  for a, items in pairs(by) do
    table.sort(items)
    -- while lines move on, one such check at a time is enough
    if ends or R('EXISTS', drawn(x, a)) == 0 then table.insert(order, a) end
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
    local items = R('ZRANGE', pending(x, a), 0, -1)
    if #items > 0 and R('HEXISTS', x.P .. 'oa', trust.account(a)) == 0 then
      settle(x, a, items, random)
    end
    R('SREM', x.P .. 'left', a)
  end
end

-- An account's last volunteer has gone.
function trust.left(x, a)
  for _, name in ipairs({a, a .. F32}) do
    if R('EXISTS', pending(x, name)) == 1 then R('SADD', x.P .. 'left', name) end
  end
end
