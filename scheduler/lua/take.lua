-- take.lua - form the next unit for a volunteer.
--
-- A unit's weight is counted in token equivalents: a generated token is 1, a
-- row of prefill 1/k, k being how much faster the volunteer says it does rows.
-- A volunteer's rate is what it was measured to do of that in a second, so a
-- unit can be sized to take policy.unit_ms.
local SCAN = 64 -- candidates looked at in a queue

-- Put sequence sid into the unit being formed, if it fits. kind as in unit.lua.
local function add(x, c, sid, kind)
  local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'ep', 'at', 'np',
                      'mt', 'ps', 'own', 'kv', 'p', 'o', 'sm', 'bi', 'sp',
                      'tag', 'ctag', 'tc')
  if not s.b or s.m ~= c.m then return false end
  local no, np, first, n_predict = #s.o / 4, tonumber(s.np), 0, 0
  local tokens = s.p .. s.o
  local rows = np + no
  if kind ~= 'w' then
    rows, n_predict = np + no - 1, no
  elseif s.own == c.vid and tonumber(s.kv) > 0 then
    first, rows = np + no - 1, 1
  end
  local w = first > 0 and 0 or rows / c.k
  local step = kind == 'w' and 1 or 0 -- one token at least
  if c.n > 0 and c.wp + w + c.nw + step > c.budget then return false end
  local seed = s.ps ~= '' and s.ps or c.M.ps
  if c.seed and c.seed ~= seed then return false end
  c.seed, c.n, c.wp = seed, c.n + 1, c.wp + w
  if kind == 'w' then c.nw = c.nw + 1 end
  c.at = math.max(c.at, tonumber(s.at))
  table.insert(c.picked, {
    sid = sid, s = s, kind = kind, first = first, rows = rows, no = no, np = np,
    n_predict = n_predict, tokens = tokens:sub(first * 4 + 1,
                                               (first + rows) * 4),
  })
  return true
end

local function room(c)
  return c.n < c.p.unit_seqs and c.fresh < c.slots and c.fresh < c.share
end

-- Its own sequences that are ready. Returns the model of the first of them.
local function sticky_model(x, vid)
  for _, sid in ipairs(R('ZRANGE', volunteer.key(x, vid) .. ':q', 0, 0)) do
    return R('HGET', sequence.key(x, sid), 'm')
  end
end

local function add_sticky(x, c)
  local key = volunteer.key(x, c.vid) .. ':q'
  for _, sid in ipairs(R('ZRANGE', key, 0, c.p.unit_seqs * 2 - 1)) do
    if c.n >= c.p.unit_seqs then return end
    add(x, c, sid, 'w')
  end
end

-- The fair part of a queue: what is there is shared by those that were heard
-- of lately.
local LATELY_MS = 10000
local function share(x, c, key)
  local n = R('ZCOUNT', x.P .. 'vols', x.now + c.p.seen_ms - LATELY_MS, '+inf')
  n = n - R('SCARD', x.P .. 'refs')
  return math.ceil(R('ZCARD', key) / math.max(n, 1))
end

-- Lines of other accounts that wait for a check and that it suits; of another
-- kind of hardware first. Where there is no referee, the others too, last.
local function add_checks(x, c)
  local queue, refs = x.P .. 'c:' .. c.m, R('SCARD', x.P .. 'refs') > 0
  local first, next, last = {}, {}, {}
  for _, sid in ipairs(R('ZRANGE', queue, 0, SCAN - 1)) do
    local s = base.load(sequence.key(x, sid), 'sn', 'bad', 'av', 'avt', 'ck',
                        'rf', 'tc')
    local late = tonumber(s.tc) and tonumber(s.tc) <= x.now - c.p.referee_after_ms
    if not s.sn then
      sequence.uncheck(x, sid, c.m)
    elseif sequence.avoids(x, s, c.vid) or
           refs and (s.rf == '1' or s.rf == '2' and not late) then
      c.refused = true
    else
      local fits, other = place.fits(x, c, s)
      if fits then
        table.insert(other and first or next, sid)
      elseif fits == false and not refs then
        table.insert(last, sid)
      else
        c.refused = true
      end
    end
  end
  c.fresh, c.share = 0, share(x, c, queue)
  for _, list in ipairs({first, next, last}) do
    for _, sid in ipairs(list) do
      if not room(c) then return end
      if add(x, c, sid, 'c') then c.fresh = c.fresh + 1 end
    end
  end
end

-- Disputed lines: the referee's; where there is none, a third account's.
local function add_disputes(x, c)
  local queue = x.P .. 'r:' .. c.m
  c.fresh, c.share = 0, c.p.unit_seqs
  if c.v.ref ~= '1' and R('SCARD', x.P .. 'refs') > 0 then return end
  for _, sid in ipairs(R('ZRANGE', queue, 0, SCAN - 1)) do
    if not room(c) then return end
    local s = base.load(sequence.key(x, sid), 'sn', 'bad', 'cw')
    if not s.sn then
      R('ZREM', queue, sid)
    elseif c.v.ref == '1' or not place.involved(s)[c.v.a] then
      if add(x, c, sid, 'x') then c.fresh = c.fresh + 1 end
    end
  end
end

-- What the referee checks: lines that nobody picked up in time, and lines that
-- nobody who is online may check.
local function add_overdue(x, c)
  local queue = x.P .. 'c:' .. c.m
  local due = x.now - c.p.referee_after_ms
  c.fresh, c.share = 0, c.p.unit_seqs
  for i, sid in ipairs(R('ZRANGE', queue, 0, SCAN - 1)) do
    if not room(c) then return end
    local s = base.load(sequence.key(x, sid), 'sn', 'bad', 'ck', 'rf',
                        'av', 'avt', 'tc')
    local since = tonumber(s.tc)
    if not s.sn then
      sequence.uncheck(x, sid, c.m)
    elseif s.rf == '1' or s.rf == '2' or since <= due or
           place.best(x, c, s) == 0 then
      if add(x, c, sid, 'c') then c.fresh = c.fresh + 1 end
    else
      c.next_ms = math.min(c.next_ms, math.max(since - due, 20))
    end
  end
end

-- Sequences without an owner. Those about which this account was wrong before
-- go to others while there are any.
local function add_queued(x, c, queue)
  if R('EXISTS', queue) == 1 and trust.rests(x, c.p, c.v.a, c.m) then
    c.refused = true
    return
  end
  for _, sid in ipairs(R('ZRANGE', queue, 0, SCAN - 1)) do
    if not room(c) then return end
    local s = base.load(sequence.key(x, sid), 'bad', 'av', 'avt')
    if not s.bad then
      fair.drop(x, 'q:' .. c.m, sid)
    else
      local bad = cmsgpack.unpack(s.bad)
      local shy = bad[c.v.a] and place.others(x, bad) > 0 or
                  sequence.avoids(x, s, c.vid)
      if shy then
        c.refused = true
      elseif add(x, c, sid, 'w') then
        c.fresh = c.fresh + 1
      end
    end
  end
end

-- The same, and now and then one whose answer is known among them.
local function add_new(x, c)
  local queue, at = x.P .. 'q:' .. c.m, nil
  c.fresh, c.share = c.fresh_all, share(x, c, queue) + c.fresh_all
  if room(c) and c.M.ps ~= c.random and R('ZCARD', queue) > 0 then -- a seed in use is no secret
    local sid = known.draw(x, c.p, c.m, c.v.a, c.random)
    if sid and add(x, c, sid, 'w') then
      c.fresh, c.share, at = c.fresh + 1, c.share + 1, #c.picked
    elseif sid then
      known.drop(x, sid)
    end
  end
  add_queued(x, c, queue)
  if at then -- nor does its place tell it
    local other = at + known.place(c.random, #c.picked - at + 1)
    c.picked[at], c.picked[other] = c.picked[other], c.picked[at]
  end
end

-- A model, with its fingerprint seed, changed now and then.
function take.model(x, m, p, random)
  local key = x.P .. 'm:' .. m
  local M = base.load(key, 'ps', 'pst', 'ctx', 'span', 'd')
  if M.span and (not M.ps or tonumber(M.pst) + p.seed_ms < x.now) then
    M.ps = random
    R('HSET', key, 'ps', random, 'pst', x.now)
  end
  return M.span and M
end

-- Lease what was picked, and give the reply for C.
local function lease(x, c, uid)
  local u, p = base.hex(uid), c.p
  local rate = tonumber(c.v.rate)
  local each = rate and (c.budget - c.wp) / math.max(c.nw, 1) or p.first_new
  each = math.max(math.min(math.floor(each), p.max_new), 1)
  local rows, weight = {}, c.wp
  local reply = {'unit', uid, base.unhex(c.m), 0, tonumber(c.M.span), c.at,
                 c.seed, 1, 0}
  for _, r in ipairs(c.picked) do
    local s, max_new = r.s, 0
    if r.kind == 'w' then
      max_new = math.min(each, s.mt - r.no, c.M.ctx - r.np - r.no)
    end
    weight = weight + max_new
    table.insert(rows, {r.sid, tonumber(s.ep), r.first, r.rows, r.n_predict,
                        max_new, r.kind, r.no})
    local key = sequence.key(x, r.sid)
    if r.kind == 'w' and s.own == '' then
      fair.taken(x, 'q:' .. c.m, s.tag)
    elseif r.kind == 'c' then
      fair.taken(x, 'c:' .. c.m, s.ctag)
    end
    sequence.unqueue(x, r.sid, s)
    sequence.uncheck(x, r.sid, c.m)
    R('ZREM', x.P .. 'r:' .. c.m, r.sid)
    R('HSET', key, 'u', u, 'ps', c.seed)
    if r.kind == 'w' then
      R('HSET', key, 'own', c.vid)
      if r.first == 0 then R('HSET', key, 'kv', 0) end
    end
    if r.kind == 'c' then trust.waited(x, x.now - s.tc) end
    sequence.move(x, r.sid, s, r.kind == 'w' and 'r' or
                               r.kind == 'c' and 'k' or 'x')
    for _, v in ipairs({sequence.alias(x, c.vid, r.sid), tonumber(s.ep), r.first,
                        r.first, r.n_predict, max_new, r.np, s.sm, s.bi, s.sp,
                        r.rows, r.tokens, ''}) do
      table.insert(reply, v)
    end
  end
  local ttl = p.first_lease_ms
  if rate then
    ttl = p.lease_ms + p.lease_factor * weight / rate * 1000 * (c.held + 1)
    ttl = math.min(math.floor(ttl), 600000)
  end
  R('HSET', unit.key(x, u), 'v', c.vid, 'm', c.m, 't0', x.now, 'wp', c.wp,
    'rows', cmsgpack.pack(rows))
  R('ZADD', x.P .. 'units', x.now + ttl, u)
  R('SADD', volunteer.key(x, c.vid) .. ':u', u)
  return reply
end

-- What a volunteer that caches nothing should fetch whole: a model with work, or
-- the one that was put last, of those that it has the memory for.
local function to_fetch(x, memory)
  local best, best_t
  for _, m in ipairs(R('SMEMBERS', x.P .. 'models')) do
    local M = base.load(x.P .. 'm:' .. m, 't', 'need')
    local t = tonumber(M.t) or 0
    local fits = memory == 0 or not M.need or tonumber(M.need) <= memory
    if R('ZCARD', x.P .. 'q:' .. m) + R('ZCARD', x.P .. 'c:' .. m) > 0 then
      t = t * 2
    end
    if fits and (not best or t > best_t) then best, best_t = m, t end
  end
  return best
end

-- {"none", reason, ms until a look is worth while, model or "", span}
local function none(reason, next_ms, m, f, e)
  return {'none', reason, next_ms, m and base.unhex(m) or '', f or 0, e or 0}
end

-- The next unit for volunteer vid: {"unit", ...} as in lease, or {"none", ...}.
-- v: a, ref, rate, prate, as, mem. ask: slots, k, models (list of <m> it holds whole),
-- spans (list of {m, first, end}, its other spans), listed (all of them, packed),
-- uid, seed.
function take.unit(x, vid, v, ask, p)
  local held = R('SCARD', volunteer.key(x, vid) .. ':u')
  if held >= p.units_held then return none(1, p.retake_ms) end
  local rate = tonumber(v.rate)
  if trust.banned(x, v.a) then return none(8, p.retake_ms) end
  if entry.is_full(x, p, v) then return none(3, p.retake_ms) end
  local full, refused, known, next_ms = false, false, false, p.retake_ms
  local own = v.ref ~= '1' and sticky_model(x, vid)
  local models = v.cls == '1' and {} or ask.models
  if own then models = {own, unpack(models)} end
  for _, m in ipairs(models) do
    local M = take.model(x, m, p, ask.seed)
    if M then
      local c = {
        m = m, M = M, p = p, vid = vid, v = v, k = ask.k, held = held, n = 0,
        nw = 0, wp = 0, at = 0, slots = ask.slots, fresh = 0, share = 0,
        random = ask.seed, picked = {}, next_ms = next_ms, trusted = trust.trusted(x, p, v.a),
        budget = rate and rate * p.unit_ms / 1000 or 64 / ask.k,
      }
      known = true
      verify.adopt(x, p, m)
      if v.ref == '1' then
        add_disputes(x, c)
        add_overdue(x, c)
      else
        add_sticky(x, c)
        add_disputes(x, c)
        c.slots = c.slots - c.fresh
        add_checks(x, c)
        c.fresh_all = c.fresh
        add_new(x, c)
      end
      if c.n > 0 then return lease(x, c, ask.uid) end
      full = full or c.slots <= 0 and R('ZCARD', x.P .. 'q:' .. m) > 0
      refused, next_ms = refused or c.refused, math.min(next_ms, c.next_ms)
    end
  end
  local reply = v.cls ~= '1' and verify.unit(x, vid, v, ask, p, held) or
    v.ref ~= '1' and flow.unit(x, vid, v, ask, p, held)
  if reply then return reply end
  if v.ref == '1' then
    local m, f, e = verify.wanted(x, vid, v, ask, p)
    if m then return none(2, p.retake_ms, m, f, e) end
  end
  refused, next_ms = refused or ask.refused,
                     math.min(next_ms, ask.next_ms or next_ms)
  local wanted, f, e = plan.wanted(v.as, ask.listed)
  if wanted then return none(2, next_ms, wanted, f, e) end
  if not known and #ask.spans == 0 and v.cls ~= '1' then
    local m = to_fetch(x, tonumber(v.mem) or 0)
    if m then
      return none(2, next_ms, m, 0, tonumber(R('HGET', x.P .. 'm:' .. m, 'span')))
    end
  end
  return none(full and 7 or refused and 4 or 1, next_ms)
end
