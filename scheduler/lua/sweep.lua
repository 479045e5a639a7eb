-- sweep.lua - finish what time or a crash left undone. Any process may run it,
-- as often as it likes.

-- sweep: ARGV 1 policy 2 random, 32 bits
-- Returns {1 if there is more to do at once, 1 if a job or a callback is due,
-- 1 if plans are to be made}
local STEP = 50 -- of each kind, a call
local BLOCKED_MS = 300 -- a plan is made first
local function sweep(keys, args)
  local x, p = base.open(keys), base.policy(args[1])
  local n = 0
  local function due(zset, before)
    local ids = R('ZRANGE', x.P .. zset, '-inf', before, 'BYSCORE', 'LIMIT', 0,
                  STEP)
    n = math.max(n, #ids)
    return ids
  end
  for _, id in ipairs(due('vols', x.now)) do volunteer.gone(x, id) end
  for _, u in ipairs(due('units', x.now)) do
    local U = base.load(unit.key(x, u), 'v', 'stage')
    unit.drop(x, u, false)
    if U.v and R('EXISTS', volunteer.key(x, U.v)) == 1 then
      R('HINCRBY', volunteer.key(x, U.v), 'late', 1)
      if U.stage then volunteer.stop(x, U.v) end
    end
  end
  for _, sid in ipairs(due('sticky', x.now - p.sticky_ms)) do
    local own = R('HGET', sequence.key(x, sid), 'own')
    if own then
      sequence.unstick(x, sid, own)
    else
      R('ZREM', x.P .. 'sticky', sid)
    end
  end
  for _, member in ipairs(due('stages', x.now - p.stage_ms)) do
    stage.overdue(x, member)
  end
  for _, name in ipairs(due('blocked', x.now - BLOCKED_MS)) do
    detour.look(x, p, name)
  end
  for _, id in ipairs(due('asks', x.now)) do ask.forget(x, id) end
  for _, id in ipairs(due('expiring', x.now)) do batch.expire(x, id) end
  trust.sweep(x, p, tonumber(args[2]), STEP)
  if batch.bury(x, STEP * 10) == STEP * 10 then n = STEP end
  if stats.fold(x, STEP * 10) == STEP * 10 then n = STEP end
  local more = n == STEP and 1 or 0
  local job = #due('j:ingest', x.now) + #due('j:output', x.now) +
              #due('events', x.now) + #due('fexp', x.now)
  base.close(x)
  return {more, job > 0 and 1 or 0, plan.due(x) and 1 or 0}
end

redis.register_function('@V@_sweep', sweep)
