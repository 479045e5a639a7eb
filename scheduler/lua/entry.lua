-- entry.lua - what keeps one address block from becoming many newcomers: how many
-- accounts it may open, and what they may do until they have shown something
-- (trust.lua). What it costs to open one is said in redundancy/entry.h; here it
-- is only counted. A block that is "" is a place that many share: none of this
-- holds there.
--   n:<block>    zset  accounts that it opened in the last hour -> when
--   n:<block>:b  zset  those of its accounts that were banned lately -> when
--   n:<block>:u  set   units that its unproven accounts hold
local UNITS_MS = 3600000 -- a set of units that nobody touched for so long goes

local function key(x, block) return x.P .. 'n:' .. block end

-- Why account a may not join from there, or nil if it may; it counts then.
-- reach: what it has paid for reaches to this score, until paid_until.
-- {"toll", score, now}: it has to pay first. {"closed", ms}: the block has opened
-- as many as it may, the next in so long. {"crowded", ms}: so many volunteers has
-- it that it is to prove itself first.
function entry.refusal(x, p, a, block, reach, paid_until)
  if block == '' or trust.trusted(x, p, a) then return nil end
  local n = tonumber(R('HGET', x.P .. 'oa', a)) or 0
  if n >= p.new_volunteers then return {'crowded', p.seen_ms} end
  if R('HEXISTS', x.P .. 'acct:' .. a, 'be') == 1 then return nil end
  local opened = key(x, block)
  local banned = opened .. ':b'
  R('ZREMRANGEBYSCORE', opened, '-inf', x.now - p.entry_ms)
  R('ZREMRANGEBYSCORE', banned, '-inf', x.now - p.entry_ban_ms)
  n = R('ZCARD', opened)
  if n >= p.new_accounts then
    local first = R('ZRANGE', opened, 0, 0, 'WITHSCORES')[2] or x.now
    return {'closed', first + p.entry_ms - x.now}
  end
  local score = n + R('ZCARD', banned) * p.entry_ban
  if x.now >= paid_until then reach = p.new_free end
  if score >= reach then return {'toll', score, x.now} end
  R('ZADD', opened, x.now, a)
  R('PEXPIRE', opened, p.entry_ms)
  return nil
end

-- An account was banned: its block pays for that.
function entry.banned(x, p, a)
  local block = R('HGET', x.P .. 'acct:' .. a, 'blk') or ''
  if block == '' then return end
  local banned = key(x, block) .. ':b'
  R('ZADD', banned, x.now, a)
  R('PEXPIRE', banned, p.entry_ban_ms)
end

-- Do the unproven of its block, of which it is one, hold as many units as they
-- may? v: a, block, ref.
function entry.is_full(x, p, v)
  return entry.is_new(x, p, v) and
    R('SCARD', key(x, v.block) .. ':u') >= p.new_units
end

function entry.is_new(x, p, v)
  return v.block and v.block ~= '' and v.ref ~= '1' and
    not trust.trusted(x, p, v.a)
end

-- It was given unit u ...
function entry.given(x, p, v, u)
  if not entry.is_new(x, p, v) then return end
  local units = key(x, v.block) .. ':u'
  R('SADD', units, u)
  R('PEXPIRE', units, UNITS_MS)
end

-- ... and holds it no more.
function entry.ended(x, block, u)
  if block and block ~= '' then R('SREM', key(x, block) .. ':u', u) end
end
