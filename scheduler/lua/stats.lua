-- stats.lua - live numbers, the ledger and the leaderboard. An account's hash:
--   name, be (backends)   run  consecutive valid checks
--   credit, units, tok, checks, lies, faults   folded from the ledger
--   ok   checks of its work that agreed

-- Tokens were generated just now.
function stats.tick(x, tokens)
  if tokens <= 0 then return end
  local key = x.P .. 'tps:' .. x.sec
  R('INCRBY', key, math.min(tokens, 1000000))
  R('EXPIRE', key, 15)
end

-- Fold the next entries of the ledger into accounts and board, each once.
-- Returns how many.
function stats.fold(x, limit)
  local at = R('GET', x.P .. 'ledger:at') or '0-0'
  local entries = R('XRANGE', x.P .. 'ledger', '(' .. at, '+', 'COUNT', limit)
  local COLUMN = {unit = 'units', check = 'checks', lie = 'lies',
                  fault = 'faults'}
  for _, entry in ipairs(entries) do
    local e = {}
    for i = 1, #entry[2], 2 do e[entry[2][i]] = entry[2][i + 1] end
    local acct = x.P .. 'acct:' .. e.a
    if COLUMN[e.k] then R('HINCRBY', acct, COLUMN[e.k], 1) end
    if e.t ~= '0' then R('HINCRBY', acct, 'tok', e.t) end
    if e.c ~= '0' then R('HINCRBY', acct, 'credit', e.c) end
    R('ZINCRBY', x.P .. 'board', e.c, e.a)
    R('PERSIST', acct)
    at = entry[1]
  end
  if #entries > 0 then
    R('SET', x.P .. 'ledger:at', at)
    -- only what is folded may go
    if #entries < limit then
      R('XTRIM', x.P .. 'ledger', 'MAXLEN', '~', 100000)
    end
  end
  return #entries
end

-- What a volunteer does: 0 idle, 1 waits in a call, 2 computes, 3 checks.
local function doing(x, id, v)
  local checks = false
  for _, u in ipairs(R('SMEMBERS', volunteer.key(x, id) .. ':u')) do
    local rows = R('HGET', unit.key(x, u), 'rows')
    for _, r in ipairs(rows and cmsgpack.unpack(rows) or {}) do
      if r[7] == 'w' or r[7] == 'g' then return 2 end
      checks = true
    end
  end
  if checks then return 3 end
  return (tonumber(v.wait) or 0) > x.now and 1 or 0
end

-- stats: ARGV 1 how many volunteers to list. Returns {online, referees, queued,
-- running, checking, confirmed, failed, tokens, tokens in the last 10 s, units,
-- faults, disagreements, rollbacks, units out, jobs, callbacks, bans,
-- checks given out, longest wait of one for that (ms), rows of generated tokens
-- that spans made, that were lost, rows made for KV again (stage.lua), then for
-- each volunteer: name, backend, account, doing, referee, rate, units, sequences}
local function get(keys, args)
  local x = base.open(keys)
  local g = base.load(x.P .. 'g', 'n_q', 'n_r', 'n_c', 'confirmed', 'failed',
                      'tokens', 'units', 'faults', 'disagreements', 'rollbacks',
                      'bans', 'cwn', 'cwm', 'gr', 'grl', 'grb')
  local refs, tokens = R('SCARD', x.P .. 'refs'), 0
  for i = 1, 10 do
    tokens = tokens + (R('GET', x.P .. 'tps:' .. (x.sec - i)) or 0)
  end
  local out = {
    R('ZCARD', x.P .. 'vols') - refs, refs, g.n_q or 0, g.n_r or 0, g.n_c or 0,
    g.confirmed or 0, g.failed or 0, g.tokens or 0, tokens, g.units or 0,
    g.faults or 0, g.disagreements or 0, g.rollbacks or 0,
    R('ZCARD', x.P .. 'units'), R('ZCARD', x.P .. 'j:ingest') +
    R('ZCARD', x.P .. 'j:output'), R('ZCARD', x.P .. 'events'), g.bans or 0,
    g.cwn or 0, g.cwm or 0, g.gr or 0, g.grl or 0, g.grb or 0,
  }
  for _, id in ipairs(R('ZRANGE', x.P .. 'vols', 0, args[1] - 1)) do
    local key = volunteer.key(x, id)
    local v = base.load(key, 'name', 'be', 'a', 'ref', 'rate', 'units', 'wait')
    local open = R('ZCARD', key .. ':q')
    for _, u in ipairs(R('SMEMBERS', key .. ':u')) do
      local rows = R('HGET', unit.key(x, u), 'rows')
      open = open + (rows and #cmsgpack.unpack(rows) or 0)
    end
    for _, value in ipairs({v.name, v.be, v.a:sub(1, 8), doing(x, id, v),
                            v.ref, v.rate or '0', v.units, open}) do
      table.insert(out, value)
    end
  end
  return out
end

-- ranks: ARGV 1 offset 2 limit. Returns {how many there are, then for each:
-- account, name, backends, credit, units, tokens, checks, disagreements,
-- checks of its work that agreed, banned, online}. What was just credited is folded first.
local function ranks(keys, args)
  local x = base.open(keys)
  local board = x.P .. 'board'
  stats.fold(x, 1000)
  local out = {R('ZCARD', board)}
  for _, id in ipairs(R('ZREVRANGE', board, args[1],
                        args[1] + args[2] - 1)) do
    local a = base.load(x.P .. 'acct:' .. id, 'name', 'be', 'credit', 'units',
                        'tok', 'checks', 'lies', 'ok', 'ban')
    for _, value in ipairs({id:sub(1, 8), a.name or '', a.be or '',
                            a.credit or 0, a.units or 0, a.tok or 0,
                            a.checks or 0, a.lies or 0, a.ok or 0, a.ban or 0,
                            R('HEXISTS', x.P .. 'oa', id)}) do
      table.insert(out, value)
    end
  end
  return out
end

-- ping: returns "ok".
local function ping()
  return 'ok'
end

redis.register_function('@V@_ping', ping)
redis.register_function('@V@_stats', get)
redis.register_function('@V@_ranks', ranks)
