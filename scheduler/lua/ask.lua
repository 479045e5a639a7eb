-- ask.lua - requests that a client waits for. One is a batch without a place in
-- any list: its lines are queued at once, ahead of those of batches, and its
-- results are read until its lease ends; then nothing of it stays.

function ask.forget(x, id)
  local key = batch.key(x, id)
  for _, sid in ipairs(R('SMEMBERS', key .. ':s')) do
    local s = base.load(sequence.key(x, sid), 'b', 'm', 'st', 'own', 'sn')
    if s.b then sequence.forget(x, sid, s) end
  end
  local b = base.load(key, 'key', 'open')
  if b.key then quota.open(x, b.key, -(tonumber(b.open) or 0)) end
  R('DEL', key, key .. ':s', key .. ':res')
  R('ZREM', x.P .. 'asks', id)
end

-- ask_create: ARGV 1 id 2 key 3 lease, ms, then the arguments of each line
--   (batch_add), from 4. Returns "ok" (also for a repeat), "range" or "full".
local function create(keys, args)
  local x = base.open(keys)
  local id, n = args[1], (#args - 3) / batch.LINE
  local key = batch.key(x, id)
  if R('EXISTS', key) == 1 then return 'ok' end
  for i = 4, #args, batch.LINE do
    local ctx = R('HGET', x.P .. 'm:' .. base.hex(args[i + 3]), 'ctx')
    if not ctx or #args[i + 4] / 4 + 1 > tonumber(ctx) then return 'range' end
  end
  if quota.full(x, args[2], n, 0, 0) then return 'full' end
  quota.open(x, args[2], n)
  R('HSET', key, 'ask', '1', 'open', n, 'key', args[2], 'st', 1, 'closed', '1',
    'total', n, 'n_ok', 0, 'n_bad', 0, 'n_q', 0, 'n_r', 0, 'n_c', 0, 'tok', 0, 'red', 1,
    'n_ct', 0, 'n_rt', 0)
  R('ZADD', x.P .. 'asks', x.now + args[3], id)
  local who = fair.who(x, args[2])
  for i = 4, #args, batch.LINE do
    batch.request(x, id, args, i, who, true)
  end
  base.close(x)
  return 'ok'
end

-- ask_look: ARGV 1 id 2 lease, ms, "" to leave it
-- Returns {lines, n, then n times: number, epoch, tokens so far and their
-- log-probabilities; then the
-- records of those that are final}; nil when it is not there.
local function look(keys, args)
  local x = base.open(keys)
  local key = batch.key(x, args[1])
  local b = base.load(key, 'ask', 'total')
  if not b.ask then return nil end
  if args[2] ~= '' then R('ZADD', x.P .. 'asks', x.now + args[2], args[1]) end
  local sids, out = R('SMEMBERS', key .. ':s'), {b.total, 0}
  for _, sid in ipairs(sids) do
    local s = base.load(sequence.key(x, sid), 'l', 'ep', 'o', 'lp')
    if s.l then
      out[2] = out[2] + 1
      table.insert(out, s.l)
      table.insert(out, s.ep)
      table.insert(out, s.o)
      table.insert(out, s.lp)
    end
  end
  for _, r in ipairs(R('LRANGE', key .. ':res', 0, -1)) do
    table.insert(out, r)
  end
  return out
end

-- ask_end: ARGV 1 id. Nobody waits any more.
local function over(keys, args)
  local x = base.open(keys)
  if R('HGET', batch.key(x, args[1]), 'ask') then ask.forget(x, args[1]) end
  return 'ok'
end

redis.register_function('@V@_ask_create', create)
redis.register_function('@V@_ask_look', look)
redis.register_function('@V@_ask_end', over)
