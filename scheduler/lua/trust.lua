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
--   a:<a>:p  zset  its items that are finished, undrawn -> number of its stint;
--                  and lines that are held: a volunteer's check agreed. They are
--                  here for their makers and for those who vouch for them
--   a:<a>:d  zset  its items that are drawn and not yet checked -> the same
--   b:<id>:p set   items of a batch that are finished, undrawn
--   b:<id>:h set   lines of a batch that are held
--   pend     set   batches with such lines    left  set of accounts that left
--   In g: sc, sl  season (checks drawn by chance, lost times p.season_lost)
--   cwn, cwm  checks that were given out, the longest that one had waited for
--   that, ms   tight  when the log last had no room for another line

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

-- ... and those who vouch for it. s has sn, ck.
local function keepers(s)
  local list = trust.makers(s.sn)
  for _, c in ipairs(s.ck and s.ck ~= '' and cmsgpack.unpack(s.ck) or {}) do
    if not c[5] then table.insert(list, c[2]) end
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

-- Does account a get no new lines of model m: it was wrong lately, and there are
-- others who have the model and were not?
local HOLDERS = 32 -- that are looked at
local function rests(x, p, a)
  local t = base.load(account(x, a), 'st', 'stt', 'ban')
  return t.ban == '1' or (tonumber(t.st) or 0) > 0 and x.now - t.stt < p.rest_ms
end

function trust.rests(x, p, a, m)
  if not rests(x, p, a) then return false end
  local whole = stage.holders_key(x, m, 0, R('HGET', x.P .. 'm:' .. m, 'span'))
  for _, id in ipairs(R('SRANDMEMBER', whole, HOLDERS)) do
    local v = base.load(volunteer.key(x, id), 'a', 'ref')
    if v.a and v.ref ~= '1' and not rests(x, p, v.a) then return true end
  end
  return false
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
  local l = R('HINCRBY', g, 'sl', lost and p.season_lost or 0)
  if n >= p.season then
    R('HSET', g, 'sc', math.floor(n / 2), 'sl', math.floor((l + 1) / 2))
  end
end

-- As redun_settle: how many of n undrawn stints are drawn once more.
local function settle_count(x, p, n)
  local g = base.load(x.P .. 'g', 'sc', 'sl')
  local found = math.floor((g.sl or 0) * 1000000 /
    (((g.sc or 0) + math.floor(p.season / 32)) * p.season_lost))
  local e = math.max(found - p.season_usual, 0)
  local more = math.min(e * p.season_rise + math.floor(e * e * p.season_steep / 100),
                        1000000 - p.draw_least)
  return math.min(n, 1 + math.floor(math.min(n, p.settle_most) * more / 1000000))
end

local function out_of_pending(x, item, b)
  local set = x.P .. 'b:' .. b
  R('SREM', set .. ':p', item)
  R('SREM', set .. ':h', item)
  if R('EXISTS', set .. ':p', set .. ':h') == 0 then R('SREM', x.P .. 'pend', b) end
end

-- The line of an item, and the first boundary of its stage or nil.
local function parts(item)
  local sid, f = item:match('^(%d+):?(%d*)$')
  return sid, tonumber(f)
end

local function makers_of(x, item)
  if select(2, parts(item)) then return verify.makers(x, item) end
  return keepers(base.load(sequence.key(x, item), 'sn', 'ck'))
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

-- An undrawn or held item of batch b becomes a drawn one.
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

-- A finished item that is not drawn is to be checked after all. referee: "1" by
-- nobody else, "2" by others only if it is late, "". covers: map of account ->
-- {number, batch}: its stints up to this number, of this batch if there is one,
-- are valid once the checks of them have agreed.
-- One that all who are there have vouched for stays as it is without a referee.
local function draw(x, item, covers, referee)
  local sid, f = parts(item)
  if f then return verify.draw(x, sid, f, covers, referee) end
  local key = sequence.key(x, sid)
  local s = base.load(key, 'b', 'm', 'st', 'sn', 'own', 'ck', 'bad', 'cw')
  if s.st ~= 'p' or s.ck ~= '' and R('SCARD', x.P .. 'refs') == 0 and
     place.others(x, place.involved(s)) <= 0 then
    return
  end
  trust.redraw(x, sid, keepers(s), s.b)
  R('HSET', key, 'cov', cmsgpack.pack(covers), 'rf', referee, 'ch', '')
  sequence.check(x, sid, s, x.now)
end

-- A pending item is valid with one of those who keep it; if it is with all, it is.
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

-- The checks drawn for account a's items up to this number, of this batch, have
-- agreed, unless one is still to come: then all of these are valid.
local function cover(x, p, a, upto, id)
  local function each(set, fn)
    for _, item in ipairs(R('ZRANGE', set, '-inf', upto, 'BYSCORE')) do
      local sid = parts(item)
      if not id or R('HGET', sequence.key(x, sid), 'b') == id then fn(item) end
    end
  end
  local left = 0
  each(drawn(x, a), function() left = left + 1 end)
  if left > 0 then return end
  each(pending(x, a), function(item) valid(x, p, item, a) end)
end

-- Items of account a that have waited long enough, or are covered by upto (as
-- for draw).
function trust.advance(x, p, a, upto)
  if upto then cover(x, p, a, upto[1], upto[2]) end
  while true do
    local head = R('ZRANGE', pending(x, a), 0, 0, 'WITHSCORES')
    if not head[1] then return end
    local sid, at = head[1], tonumber(head[2])
    local n = tonumber(R('HGET', account(x, a), 'n')) or 0
    if n - at < p.window or
       R('ZCOUNT', drawn(x, a), at + 1, at + p.window) > 0 then
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

local function covers_of(s)
  return s.cov and s.cov ~= '' and cmsgpack.unpack(s.cov) or {}
end

-- The referee has found a drawn line right (it is final already; s as it was).
function trust.agreed(x, p, sid, s)
  local covers = covers_of(s)
  trust.passed(x, p, sid, trust.makers(s.sn), s.ch == '1')
  for _, a in ipairs(keepers(s)) do trust.advance(x, p, a, covers[a]) end
end

-- Volunteers have: it is held, by its makers and by those who vouch for it, as two
-- who lie together would. s has b, m, st, sn, ch, cov, ck.
function trust.vouched(x, p, sid, s)
  local at, covers = {}, covers_of(s)
  for _, a in ipairs(keepers(s)) do
    at[a] = R('ZSCORE', drawn(x, a), sid) or
      (tonumber(R('HGET', account(x, a), 'n')) or 0) + 1
  end
  trust.passed(x, p, sid, trust.makers(s.sn), s.ch == '1')
  R('HSET', sequence.key(x, sid), 'u', '', 'own', '', 'kv', 0, 'cov', '', 'rf', '',
    'ch', '')
  sequence.move(x, sid, s, 'p')
  R('SADD', x.P .. 'b:' .. s.b .. ':h', sid)
  R('SADD', x.P .. 'pend', s.b)
  for a, number in pairs(at) do
    R('ZREM', drawn(x, a), sid)
    R('ZADD', pending(x, a), number, sid)
  end
  for _, a in ipairs(keepers(s)) do trust.advance(x, p, a, covers[a]) end
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
  local ck = s.ck or R('HGET', sequence.key(x, sid), 'ck')
  trust.leave(x, sid, keepers({sn = s.sn, ck = ck}), s.b)
end

-- A banned account's volunteers lose all that they hold, and count no more as
-- online; so do those that it brings later. Its address block pays more.
local function ban(x, p, a)
  R('HSET', account(x, a), 'ban', '1')
  entry.banned(x, p, a)
  local lost = tonumber(R('HGET', x.P .. 'g', 'sl')) or 0
  R('HSET', x.P .. 'g', 'sl', math.max(lost - p.season_banned, 0))
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
    draw(x, item, {}, '1')
  end
  if n >= p.strikes and not trust.banned(x, trust.account(a)) then
    ban(x, p, trust.account(a))
  end
end

-- Draw some of these undrawn items for all that account a has pending; of batch
-- id, if it is given: what is drawn from one batch tells nothing of another.
local function settle(x, p, a, items, random, id)
  local n, k = #items, settle_count(x, p, #items)
  local upto = tonumber(R('HGET', account(x, a), 'n'))
  for i = 0, k - 1 do
    draw(x, items[(random + math.floor(i * n / k)) % n + 1],
         {[a] = {upto, id or false}}, n >= p.settle_referee and '2' or '')
  end
end

-- A batch of which nothing moves any more but pending items, or whose lines keep
-- the log full: some more checks for each of the makers of undrawn ones. When only
-- held ones are left, they are final. random: 32 bits of the call.
local LOOK, TIGHT_MS = 300, 2000
function trust.settle_batch(x, p, id, random)
  local b = x.P .. 'b:' .. id
  local t = base.load(b, 'closed', 'st', 'n_q', 'n_r', 'n_c', 'n_p')
  local n, held = R('SCARD', b .. ':p'), R('SCARD', b .. ':h')
  if n + held == 0 then R('SREM', x.P .. 'pend', id) end
  local ends = t.closed == '1' and t.st == '1' and
    tonumber(t.n_q) + tonumber(t.n_r) == 0 and
    tonumber(t.n_c) <= (tonumber(t.n_p) or 0)
  local tight = not ends and
    x.now - (tonumber(R('HGET', x.P .. 'g', 'tight')) or 0) < TIGHT_MS
  if n == 0 and held > 0 and ends then
    for _, sid in ipairs(R('SRANDMEMBER', b .. ':h', LOOK)) do
      sequence.final(x, p, sid, nil)
    end
  end
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
  for _, a in ipairs(order) do settle(x, p, a, by[a], random, id) end
end

-- Batches that have ended but for pending lines, and accounts that have left.
function trust.sweep(x, p, random, limit)
  for _, id in ipairs(R('SRANDMEMBER', x.P .. 'pend', limit)) do
    trust.settle_batch(x, p, id, random)
  end
  for _, a in ipairs(R('SRANDMEMBER', x.P .. 'left', limit)) do
    local items = {}
    for _, item in ipairs(R('ZRANGE', pending(x, a), 0, -1)) do
      local ck = R('HGET', sequence.key(x, item), 'ck') -- none of a stage
      if not ck or ck == '' then table.insert(items, item) end
    end
    if #items > 0 and R('HEXISTS', x.P .. 'oa', trust.account(a)) == 0 then
      settle(x, p, a, items, random)
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
