-- volunteer.lua - who is there. A volunteer's hash:
--   th token hash (binary)   a account, hex   name, be (backend), cls, mem,
--   thr (threads), block     ref "1" for a referee
--   seen    last sign of life    pres  id of its open presence, or ""
--   gone    when its grace ends, 0 while there is none
--   an      number of its last call; ao outcome of that call's result; ar the
--           answer as packed reply, "" while there is none
--   told    memory beside its spans, as in its last call; mem is made of both
--   sl      sequences it keeps at a time, on parts of models
--   lst     spans cached, as in its last call   prate  rows a second on spans
--   fz      number of a call that is not given work any more
--   rate    measured: token equivalents a second (see take.lua)
--   t_res   when its last result came     rep  tokens told by progress
--   lost    units in a row that it did not keep
--   units, faults, late   counts
function volunteer.key(x, id) return x.P .. 'v:' .. id end

-- Is id there, and is th its token's hash?
function volunteer.auth(x, id, th)
  return R('HGET', volunteer.key(x, id), 'th') == th
end

-- A sign of life.
function volunteer.seen(x, id, p)
  local key = volunteer.key(x, id)
  local gone = tonumber(R('HGET', key, 'gone')) or 0
  local at = x.now + p.seen_ms
  R('HSET', key, 'seen', x.now)
  if gone > 0 and gone < at then at = gone end
  R('ZADD', x.P .. 'vols', at, id)
end

-- volunteer_join: ARGV 1 id 2 token hash 3 account 4 name 5 backend 6 class
--   7 memory 8 threads 9 block 10 referee 11 policy 12 reach, 13 paid until, of
--   what it has paid (entry.lua)
-- Returns {"ok"}, {"exists"} or why it may not join, as entry.refusal. A repeat
-- with the same token changes nothing.
local function join(keys, args)
  local x, p = base.open(keys), base.policy(args[11])
  local key, acct = volunteer.key(x, args[1]), x.P .. 'acct:' .. args[3]
  local th = R('HGET', key, 'th')
  if th then return {th == args[2] and 'ok' or 'exists'} end
  local refusal = args[10] ~= '1' and
    entry.refusal(x, p, args[3], args[9], tonumber(args[12]), tonumber(args[13]))
  if refusal then return refusal end
  R('HSET', key, 'th', args[2], 'a', args[3], 'name', args[4], 'be', args[5],
    'cls', args[6], 'mem', args[7], 'thr', args[8], 'block', args[9], 'ref',
    args[10], 'seen', x.now, 'pres', '', 'gone', 0, 'an', 0, 'ao', 0, 'ar', '',
    'rep', 0, 'units', 0, 'faults', 0, 'late', 0)
  R('ZADD', x.P .. 'vols', x.now + p.seen_ms, args[1])
  if args[10] == '1' then
    R('SADD', x.P .. 'refs', args[1])
    return {'ok'}
  end
  plan.joined(x, args[1], args[4])
  if not trust.banned(x, args[3]) then R('HINCRBY', x.P .. 'oa', args[3], 1) end
  local a = base.load(acct, 'be', 'run')
  local be = a.be or ''
  if not (',' .. be .. ','):find(',' .. args[5] .. ',', 1, true) and
     #be < 200 then
    be = be == '' and args[5] or be .. ',' .. args[5]
  end
  R('HSET', acct, 'be', be, 'run', a.run or 0, 'blk', args[9])
  if args[4] ~= '' then R('HSET', acct, 'name', args[4]) end
  if not R('ZSCORE', x.P .. 'board', args[3]) then
    R('EXPIRE', acct, 86400) -- until it has done something
  end
  return {'ok'}
end

-- All that it held is queued again.
function volunteer.strip(x, id)
  local key = volunteer.key(x, id)
  for _, u in ipairs(R('SMEMBERS', key .. ':u')) do
    unit.drop(x, u, false)
  end
  for _, sid in ipairs(R('ZRANGE', key .. ':q', 0, -1)) do
    sequence.unstick(x, sid, id)
  end
  stage.strip(x, id)
end

-- It does not answer any more: its stages go to others at once, it holds nothing
-- that can be counted on, and its call gets no more work, until it calls again.
function volunteer.stop(x, id)
  local key = volunteer.key(x, id)
  for _, u in ipairs(R('SMEMBERS', key .. ':u')) do
    if R('HEXISTS', unit.key(x, u), 'stage') == 1 then unit.drop(x, u, false) end
  end
  stage.holds(x, id, {})
  R('HSET', key, 'fz', R('HGET', key, 'an'), 'lst', '')
end

-- ... and it is forgotten.
function volunteer.gone(x, id)
  local key = volunteer.key(x, id)
  local v = base.load(key, 'a', 'ref')
  volunteer.strip(x, id)
  stage.holds(x, id, {})
  R('DEL', key, key .. ':u', key .. ':q', key .. ':g', key .. ':st')
  R('ZREM', x.P .. 'vols', id)
  R('SREM', x.P .. 'refs', id)
  if v.a and v.ref ~= '1' and R('HINCRBY', x.P .. 'oa', v.a, -1) <= 0 then
    R('HDEL', x.P .. 'oa', v.a)
    trust.left(x, v.a)
  end
end

-- volunteer_progress: ARGV 1 id 2 token hash 3 policy 4 tokens 5 unit ids
-- Returns "ok" or "denied".
local function progress(keys, args)
  local x, p = base.open(keys), base.policy(args[3])
  local key, tokens = volunteer.key(x, args[1]), tonumber(args[4])
  if not volunteer.auth(x, args[1], args[2]) then return 'denied' end
  volunteer.seen(x, args[1], p)
  for i = 1, #args[5], 16 do
    local u = base.hex(args[5]:sub(i, i + 15))
    if R('SISMEMBER', key .. ':u', u) == 1 then
      -- never shortens
      local part = R('HEXISTS', unit.key(x, u), 'stage') == 1
      R('ZADD', x.P .. 'units', 'XX', 'GT',
        x.now + (part and p.stage_ms or p.progress_ms), u)
    end
  end
  if tokens > 0 then
    stats.tick(x, tokens)
    R('HINCRBY', key, 'rep', tokens)
  end
  return 'ok'
end

-- volunteer_leave: ARGV 1 id 2 token hash. Returns "ok" or "denied".
local function leave(keys, args)
  local x = base.open(keys)
  if not volunteer.auth(x, args[1], args[2]) then return 'denied' end
  volunteer.gone(x, args[1])
  base.close(x)
  return 'ok'
end

-- volunteer_present: ARGV 1 id 2 token hash 3 policy 4 presence
local function present(keys, args)
  local x, p = base.open(keys), base.policy(args[3])
  if not volunteer.auth(x, args[1], args[2]) then return 'denied' end
  R('HSET', volunteer.key(x, args[1]), 'pres', args[4], 'gone', 0, 'fz', '')
  volunteer.seen(x, args[1], p)
  return 'ok'
end

-- volunteer_lost: ARGV as for volunteer_present
local function lost(keys, args)
  local x, p = base.open(keys), base.policy(args[3])
  local key = volunteer.key(x, args[1])
  if not volunteer.auth(x, args[1], args[2]) then return 'denied' end
  if R('HGET', key, 'pres') == args[4] then
    R('HSET', key, 'pres', '', 'gone', x.now + p.grace_ms)
    R('ZADD', x.P .. 'vols', 'XX', 'LT', x.now + p.grace_ms, args[1])
    volunteer.stop(x, args[1])
    base.close(x)
  end
  return 'ok'
end

redis.register_function('@V@_volunteer_join', join)
redis.register_function('@V@_volunteer_progress', progress)
redis.register_function('@V@_volunteer_leave', leave)
redis.register_function('@V@_volunteer_present', present)
redis.register_function('@V@_volunteer_lost', lost)
