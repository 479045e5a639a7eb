-- callback.lua - callback events. An event's hash, which stays a while after its
-- delivery, as it may be asked for again:
--   b batch   type   ep endpoint   t created   n attempts made   lease
--   l, cid  of request.completed: place among the results, custom id
-- The batch's hash has url, ep (endpoint: host and port of url), secret, old and
-- old_t (the secret before, valid until then), cbe (a letter for each kind of
-- event that is wanted) and coff "1": the receiver said that it is gone.
--
-- Events wait by endpoint, so one that is down holds up nobody else: events
-- says when to look at an endpoint, eq:<ep> when its events are due (under
-- lease: its end), er:<ep> which are under way, ef:<ep> that it failed lately.
local EACH = 4               -- tries of one endpoint at a time; 1 when it fails
local FAILED_S = 600
local EVENT_MS = 4 * 86400000 -- longer than an event is tried
local LOG = 1000             -- entries in a batch's log
local PROGRESS_MS, PROGRESS_LEAST_MS = 30000, 1000

local LETTERS = {
  ['batch.completed'] = 'c', ['batch.failed'] = 'f', ['batch.cancelled'] = 'a',
  ['batch.expired'] = 'x', ['batch.progress'] = 'p',
  ['request.completed'] = 'r',
}

-- When is endpoint ep to be looked at again?
local function schedule(x, ep)
  local queue, running = x.P .. 'eq:' .. ep, x.P .. 'er:' .. ep
  R('ZREMRANGEBYSCORE', running, '-inf', x.now)
  local due = tonumber(R('ZRANGE', queue, 0, 0, 'WITHSCORES')[2])
  if not due then
    R('ZREM', x.P .. 'events', ep)
    return false
  end
  local most = R('EXISTS', x.P .. 'ef:' .. ep) == 1 and 1 or EACH
  if R('ZCARD', running) >= most then
    due = math.max(due, tonumber(R('ZRANGE', running, 0, 0, 'WITHSCORES')[2]))
  end
  R('ZADD', x.P .. 'events', due, ep)
  x.job = x.job or due <= x.now
  return due <= x.now
end

-- An event of batch id, if it wants that kind. Returns whether it does.
function callback.add(x, id, event, kind, ttl, line, cid)
  local b = base.load(batch.key(x, id), 'url', 'ep', 'cbe', 'coff')
  if not b.url or b.url == '' or not b.cbe:find(LETTERS[kind], 1, true) then
    return false
  end
  local key = x.P .. 'e:' .. event
  R('HSET', key, 'b', id, 'type', kind, 'ep', b.ep, 't', x.now, 'n', 0, 'lease',
    '', 'l', line or 0, 'cid', cid or '')
  R('PEXPIRE', key, ttl or EVENT_MS)
  if b.coff ~= '1' then
    R('ZADD', x.P .. 'eq:' .. b.ep, x.now, event)
    schedule(x, b.ep)
  end
  return true
end

-- A line of batch id became final, the n-th. b: cbe, total, pt, pd and pe.
function callback.line(x, id, b, n, cid)
  local name = 'evt_' .. id:gsub('^batch_', '')
  if b.cbe:find('r', 1, true) then
    callback.add(x, id, name .. '_r' .. n, 'request.completed', nil, n - 1, cid)
  end
  local total = tonumber(b.total)
  if not b.cbe:find('p', 1, true) or n >= total then return end
  local since = x.now - (tonumber(b.pt) or tonumber(b.t_new))
  local tenth = math.floor(n * 10 / total)
  if since < PROGRESS_LEAST_MS or
     tenth == (tonumber(b.pd) or 0) and since < PROGRESS_MS then
    return
  end
  R('HSET', batch.key(x, id), 'pt', x.now, 'pd', tenth, 'pe', n)
  -- while one is under way there is no need for another: it tells what is then
  if b.pe and R('ZSCORE', x.P .. 'eq:' .. b.ep, name .. '_p' .. b.pe) then
    return
  end
  callback.add(x, id, name .. '_p' .. n, 'batch.progress')
end

-- callback_take: ARGV 1 fresh lease 2 ttl, ms
-- Returns {id, type, batch, url, secret, secret before or "", created, attempts,
-- line, custom id}; nil: none is due.
local function take_one(keys, args)
  local x = base.open(keys)
  while true do
    local ep = R('ZRANGE', x.P .. 'events', '-inf', x.now, 'BYSCORE', 'LIMIT',
                 0, 1)[1]
    if not ep then return nil end
    local queue = x.P .. 'eq:' .. ep
    local id = schedule(x, ep) and
               R('ZRANGE', queue, '-inf', x.now, 'BYSCORE', 'LIMIT', 0, 1)[1]
    if id then
      local key = x.P .. 'e:' .. id
      local e = base.load(key, 'type', 'b', 't', 'n', 'l', 'cid')
      local b = e.b and base.load(batch.key(x, e.b), 'url', 'secret', 'old',
                                  'old_t', 'coff')
      if b and b.url and b.coff ~= '1' then
        R('ZADD', queue, x.now + args[2], id)
        R('ZADD', x.P .. 'er:' .. ep, x.now + args[2], id)
        R('HSET', key, 'lease', args[1])
        schedule(x, ep)
        local old = x.now < (tonumber(b.old_t) or 0) and b.old or ''
        return {id, e.type, e.b, b.url, b.secret, old, e.t, e.n, e.l, e.cid}
      end
      R('ZREM', queue, id) -- its time has passed
      schedule(x, ep)
    end
  end
end

-- callback_tried: ARGV 1 event 2 lease 3 status 4 ms until the next try; 0:
--   delivered; negative: given up 5 how long it took, ms 6 what went wrong
--   7 policy
-- Returns "ok" or "gone".
local function tried(keys, args)
  local x, p = base.open(keys), base.policy(args[7])
  local key, retry = x.P .. 'e:' .. args[1], tonumber(args[4])
  local e = base.load(key, 'lease', 'b', 'n', 'ep', 'type')
  if not e.b or e.lease ~= args[2] then return 'gone' end
  R('HSET', key, 'lease', '', 'n', e.n + 1)
  R('ZREM', x.P .. 'er:' .. e.ep, args[1])
  if retry > 0 then
    R('ZADD', x.P .. 'eq:' .. e.ep, x.now + retry, args[1])
  else
    R('ZREM', x.P .. 'eq:' .. e.ep, args[1])
  end
  if retry == 0 then
    R('DEL', x.P .. 'ef:' .. e.ep)
  else
    R('SET', x.P .. 'ef:' .. e.ep, '1', 'EX', FAILED_S)
  end
  schedule(x, e.ep)
  local b = batch.key(x, e.b)
  local ev = R('HGET', b, 'ev')
  if ev then
    if args[3] == '410' then R('HSET', b, 'coff', '1') end
    if ev == args[1] then
      R('HINCRBY', b, 'ev_n', 1)
      R('HSET', b, 'ev_st', args[3])
      if retry == 0 then R('HSET', b, 'ev_at', x.now) end
    end
    R('RPUSH', b .. ':log', cmsgpack.pack({
      x.now, args[1], e.type, e.n + 1, tonumber(args[3]), tonumber(args[5]),
      retry > 0 and x.now + retry or 0, args[6],
    }))
    R('LTRIM', b .. ':log', -LOG, -1)
    R('PEXPIRE', b .. ':log', p.keep_ms)
  end
  base.close(x)
  return 'ok'
end

-- callback_log: ARGV 1 batch 2 key 3 most entries
-- Returns the attempts, the last first, each {at, event, type, number, status,
-- ms it took, next try at or 0, what went wrong}; nil: no such batch.
local function log(keys, args)
  local x, out = base.open(keys), {}
  local b = batch.key(x, args[1])
  if R('HGET', b, 'key') ~= args[2] then return nil end
  for _, one in ipairs(R('LRANGE', b .. ':log', -tonumber(args[3]), -1)) do
    table.insert(out, 1, cmsgpack.unpack(one))
  end
  return out
end

-- callback_again: ARGV 1 batch 2 key 3 event, "": of its end 4 policy
-- It is due now, as if it was new. Returns "ok", "none" (no such batch), "full"
-- (it has no callback) or "gone" (no such event).
local function again(keys, args)
  local x, p = base.open(keys), base.policy(args[4])
  local b = batch.key(x, args[1])
  local t = base.load(b, 'key', 'url', 'ev')
  if t.key ~= args[2] then return 'none' end
  if t.url == '' then return 'full' end
  local event = args[3] ~= '' and args[3] or t.ev
  local key = x.P .. 'e:' .. event
  local e = base.load(key, 'b', 'ep')
  if e.b ~= args[1] then return 'gone' end
  R('HSET', b, 'coff', '')
  R('HSET', key, 'n', 0)
  R('PEXPIRE', key, p.keep_ms)
  if not R('ZSCORE', x.P .. 'er:' .. e.ep, event) then
    R('ZADD', x.P .. 'eq:' .. e.ep, x.now, event)
  end
  schedule(x, e.ep)
  base.close(x)
  return 'ok'
end

-- callback_secret: ARGV 1 batch 2 key 3 secret 4 how long the one before stays
--   valid, ms
-- Returns "ok", also for a repeat, "none" or "full" as above.
local function secret(keys, args)
  local x = base.open(keys)
  local b = batch.key(x, args[1])
  local t = base.load(b, 'key', 'url', 'secret')
  if t.key ~= args[2] then return 'none' end
  if t.url == '' then return 'full' end
  if t.secret ~= args[3] then
    R('HSET', b, 'secret', args[3], 'old', t.secret, 'old_t', x.now + args[4])
  end
  return 'ok'
end

redis.register_function('@V@_callback_take', take_one)
redis.register_function('@V@_callback_tried', tried)
redis.register_function('@V@_callback_log', log)
redis.register_function('@V@_callback_again', again)
redis.register_function('@V@_callback_secret', secret)
