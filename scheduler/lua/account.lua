-- account.lua - what one account has, and what it waits for.

local PENDING = 300 -- lines looked at, of each kind

-- Items of a set of trust.lua, and the credit that they will bring account a.
local function waiting(x, a, set)
  local n, credit = R('ZCARD', set), 0
  for _, item in ipairs(R('ZRANGE', set, 0, PENDING - 1)) do
    local sid, f = item:match('^(%d+):?(%d*)$')
    local s = base.load(sequence.key(x, sid), 'm', 'np', 'sn')
    local m = s.m and base.load(x.P .. 'm:' .. s.m, 'cr', 'span', 'crs')
    for _, t in ipairs(m and cmsgpack.unpack(s.sn) or {}) do
      if t[2] == a and (f == '' or t[7] == tonumber(f)) then credit = credit + sequence.worth(s, t, m) end
    end
  end
  return n, string.format('%.0f', credit)
end

-- account_get: ARGV 1 account. Returns {name, backends, credit, units, tokens,
-- checks, disagreements, faults, agreed, run, banned, volunteers online, rank
-- (0: none), then lines and their credit that wait for a check of their own,
-- and for later checks}; nil when nobody knows it.
local function get(keys, args)
  local x, a = base.open(keys), args[1]
  stats.fold(x, 1000)
  local t = base.load(x.P .. 'acct:' .. a, 'name', 'be', 'credit', 'units',
                      'tok', 'checks', 'lies', 'faults', 'ok', 'run', 'ban')
  if not t.be then return nil end
  local rank = R('ZREVRANK', x.P .. 'board', a)
  local check_n, check_credit = waiting(x, a, x.P .. 'a:' .. a .. ':d')
  local later_n, later_credit = waiting(x, a, x.P .. 'a:' .. a .. ':p')
  return {
    t.name or '', t.be, t.credit or 0, t.units or 0, t.tok or 0, t.checks or 0,
    t.lies or 0, t.faults or 0, t.ok or 0, t.run or 0, t.ban or 0,
    R('HGET', x.P .. 'oa', a) or 0, rank and rank + 1 or 0, check_n,
    check_credit, later_n, later_credit,
  }
end

redis.register_function('@V@_account_get', get)
