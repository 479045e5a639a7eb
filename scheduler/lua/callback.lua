-- callback.lua - callback events. An event's hash:
--   b batch   type   url, secret   t created   n attempts made   lease
-- Its place in events is when it is due; it leaves when it is delivered or
-- given up, and its hash stays a while, as the batch does.

-- callback_take: ARGV 1 fresh lease 2 ttl, ms
-- Returns {id, type, batch, url, secret, created, attempts}; nil: none is due.
local function take_one(keys, args)
  local x = base.open(keys)
  local due = x.P .. 'events'
  while true do
    local id = R('ZRANGE', due, '-inf', x.now, 'BYSCORE', 'LIMIT', 0, 1)[1]
    if not id then return nil end
    local key = x.P .. 'e:' .. id
    local e = base.load(key, 'type', 'b', 'url', 'secret', 't', 'n')
    if e.b then
      R('ZADD', due, x.now + args[2], id)
      R('HSET', key, 'lease', args[1])
      return {id, e.type, e.b, e.url, e.secret, e.t, e.n}
    end
    R('ZREM', due, id) -- its time has passed
  end
end

-- callback_tried: ARGV 1 event 2 lease 3 status 4 ms until the next try; 0:
--   delivered; negative: given up
-- Returns "ok" or "gone".
local function tried(keys, args)
  local x = base.open(keys)
  local key, retry = x.P .. 'e:' .. args[1], tonumber(args[4])
  local e = base.load(key, 'lease', 'b', 'n')
  if not e.b or e.lease ~= args[2] then return 'gone' end
  R('HSET', key, 'lease', '', 'n', e.n + 1)
  if retry > 0 then
    R('ZADD', x.P .. 'events', x.now + retry, args[1])
  else
    R('ZREM', x.P .. 'events', args[1])
  end
  local b = batch.key(x, e.b)
  if R('EXISTS', b) == 1 then
    R('HSET', b, 'ev_n', e.n + 1, 'ev_st', args[3])
    if retry == 0 then R('HSET', b, 'ev_at', x.now) end
  end
  return 'ok'
end

redis.register_function('@V@_callback_take', take_one)
redis.register_function('@V@_callback_tried', tried)
